"""Tests that no stage leaves a tensor on the wrong device, on a pretended accelerator."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT
from tiny_architectures import TEXT_MODELS, VISION_MODELS


@pytest.fixture(scope="module")
def results(tiny_model):
    """Return the results of all stages, from one process; see ``device_placement``."""
    folders = ("workflow_scripts", "tests/unit")
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("device_placement.py"), tiny_model],
        env=os.environ
        | {"PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in folders)}
        | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", [*TEXT_MODELS, *VISION_MODELS])
def test_stages_of_an_architecture_mix_no_devices(results, name):
    assert isinstance(results["architectures"][name], list), results["architectures"][name]


def test_pretended_device_computes_as_the_cpu(results):
    assert isinstance(results["cpu"], list), results["cpu"]
    assert results["pretended:0"] == pytest.approx(results["cpu"], rel=1e-4)


def test_each_move_between_devices_is_needed(results):
    assert len(results["moves"]) > 20
    unneeded = [move for move, error in results["moves"].items() if not error]
    assert not unneeded, "without these moves, no stage fails"
