"""Tests for hiding installed packages from other libraries."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from blossomtune.hidden_modules import hide_modules

LIBRARY = Path(__file__).parents[2] / "workflow_scripts"

IMPORT_TRAINER = """
import sys
from blossomtune.cli import setup_process
setup_process()
import blossomtune.training.completion_trainer
print([name for name in ("wandb", "torch._inductor.compile_fx", "trl") if name in sys.modules])
import wandb
"""


def test_hidden_module_is_not_found_within_the_block():
    assert "this" not in sys.modules
    with pytest.raises(ModuleNotFoundError), hide_modules("this"):
        assert importlib.util.find_spec("this") is None
        import this  # noqa: F401
    assert importlib.util.find_spec("this")


def test_imported_module_stays_visible():
    with hide_modules("pytest"):
        assert sys.modules["pytest"] is pytest
    assert sys.modules["pytest"] is pytest


def test_trainer_loads_neither_wandb_nor_a_compiler():
    command = [sys.executable, "-c", IMPORT_TRAINER]
    environment = os.environ | {"PYTHONPATH": str(LIBRARY)}
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    assert result.stdout.splitlines()[0] == "['trl']"
