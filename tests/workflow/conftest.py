"""Fixtures of the workflow tests."""

import sys
from pathlib import Path

import pytest
from checkout import Checkout, copy_workflow


@pytest.fixture(scope="module")
def checkout(tmp_path_factory):
    """A checkout that no rule has run in."""
    root = tmp_path_factory.mktemp("checkout") / "workflow"
    copy_workflow(root)
    return Checkout(root)


@pytest.fixture(scope="session")
def finish(tmp_path_factory):
    """A function that gets things done in a checkout, with a stand-in for every step."""
    programs = tmp_path_factory.mktemp("programs")
    stand_in = Path(__file__).with_name("stand_in.py")
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" -S "{stand_in}" "$@"\n')
    (programs / "python").chmod(0o755)

    def finish(checkout, *arguments, **options):
        done = checkout.snakemake(*arguments, path=programs, **options)
        assert done.returncode == 0, done.stderr
        return checkout

    return finish
