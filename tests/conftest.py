"""What tests of every kind share."""

import os
import shutil

import pytest


@pytest.fixture(scope="session")
def engine():
    """A function that lets a test go on only where an engine is asked for, and there.

    Tests with real engines take minutes, so they run for those that BLOSSOMTUNE_ENGINES names,
    separated by commas. An engine that is named there and is missing is a failure, not a skip.
    """
    wanted = os.environ.get("BLOSSOMTUNE_ENGINES", "").split(",")

    def require(name: str) -> str:
        if name not in wanted:
            pytest.skip(f"takes minutes; BLOSSOMTUNE_ENGINES={name} runs it with the real {name}")
        program = shutil.which(name)
        assert program, f"BLOSSOMTUNE_ENGINES names {name}, which is not installed"
        return program

    return require
