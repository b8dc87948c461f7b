"""Tests of ``make gpu-check`` without a GPU."""

import json

import gpu_check
import pytest
import torch
from card import measure_peak
from checks import CHECKS, Check, Outcome, compare
from obstacles import find_obstacle
from workspace import build_config, find_reason

from blossomtune.config.load import load_configuration
from blossomtune.modeling import devices

PLAIN = {"train_loss": [2.0, 1.5], "base_loss": 3.0, "federated_accuracy": 0.7}


def test_without_a_gpu_nothing_is_run(tmp_path, monkeypatch, capsys):
    # hides the GPU of a machine that has one; elsewhere it changes nothing
    monkeypatch.setattr(devices, "list_device_types", lambda: ["cpu"])
    folder = tmp_path / "results"
    assert gpu_check.main(["--folder", str(folder)]) == 2
    assert "finds no GPU" in capsys.readouterr().err and not folder.exists()


@pytest.mark.parametrize("small", [True, False])
@pytest.mark.parametrize("device", ["cuda", "cpu"])
def test_configuration_has_an_experiment_for_each_check(device, small):
    configuration = load_configuration(build_config(device, small=small))
    assert list(configuration.experiments) == [check.name for check in CHECKS]
    for name, experiment in configuration.experiments.items():
        uses_device = device != "cpu" and not name.startswith("cpu-")
        assert bool(experiment.federation.gpus_per_client) == uses_device
        assert experiment.evaluation.device == (device if uses_device else "cpu")


def test_checks_follow_those_that_they_are_compared_with():
    names = [check.name for check in CHECKS]
    for check in CHECKS:
        assert check.reference in [None, *names[: names.index(check.name)]]
    assert [check.name for check in gpu_check.select_checks(["dora"])] == ["plain", "dora"]


@pytest.mark.parametrize(
    ("measured", "faults"),
    [
        ({"train_loss": [2.01, 9.0], "base_loss": 3.1, "federated_accuracy": 0.72}, 0),
        ({"train_loss": [2.2, 1.5], "base_loss": 3.0, "federated_accuracy": 0.6}, 2),
        ({"train_loss": [float("nan")], "base_loss": 3.0, "federated_accuracy": 0.7}, 1),
    ],
)
def test_values_beyond_their_tolerance_are_faults(measured, faults):
    check = Check("b", "", reference="a", loss=0.05, base_loss=0.05, accuracy=0.05)
    found = compare(check, Outcome("b", measured=measured), Outcome("a", measured=PLAIN))
    assert len(found) == faults


def test_check_without_its_reference_could_not_run(tmp_path):
    [check] = [check for check in CHECKS if check.name == "dora"]
    outcome = gpu_check.run_safely(check, gpu_check.Workspace(tmp_path, {}), "cpu", 1.0, {})
    assert outcome.status == "could not run" and "plain" in outcome.reasons[0]


def test_check_without_memory_or_kernels_could_not_run(tmp_path, monkeypatch):
    assert "bitsandbytes" in find_obstacle("4bit", tmp_path, "mps")
    assert find_obstacle("4bit", tmp_path, "cuda") is None
    monkeypatch.setattr("obstacles.LARGE_DISK_BYTES", 10**18)  # more than any disk has
    assert "disk" in find_obstacle("random-1b", tmp_path, "cuda")


def test_reason_of_a_failed_stage_is_its_first_error():
    output = "Building DAG\nerror: models.x: no file\n  hint: …\nError in rule fetch_model:\n"
    assert find_reason(output) == "error: models.x: no file"
    output = "CalledProcessError in file\nTraceback:\nValueError: bad\nWorkflowError:\nExiting"
    assert find_reason(output) == "ValueError: bad"


def test_peak_of_the_cpu_is_measured():
    assert measure_peak(torch.device("cpu"), size=64) > 0


def test_small_checks_run_on_the_cpu(engine, tmp_path):
    engine("simulation")
    options = ["--device", "cpu", "--small", "--folder", str(tmp_path), "--only", "checkpointing"]
    assert gpu_check.main(options) == 0
    report = json.loads((tmp_path / "gpu-check.json").read_text())
    assert [check["status"] for check in report["checks"]] == ["passed", "passed"]
    assert report["checks"][1]["loss_difference"] < 1e-3
