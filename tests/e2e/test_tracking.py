"""A run that is killed and resumed is one run in all trackers, with what history.json has."""

import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml
from small_workflow import create_small_workflow, run_snakemake, start_snakemake
from tracker_readers import READERS

from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.history import History
from blossomtune.files import read_json
from blossomtune.tracking.metrics import compute_metrics

EXPERIMENT = "results/experiments/small"
TRACKED = "results/tracking/small.done"


def wait_for_rounds(home, process, number):
    """Wait until so many rounds, round 0 included, were logged or are about to be."""
    path = home / "results/tracking/runs/small.json"
    while not path.exists() or len(read_json(path)["rounds"]) < number:
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.1)


def kill(process):
    """Kill Snakemake, the server and the trackers' process; wait until all processes are gone."""
    children = psutil.Process(process.pid).children(recursive=True)
    process.kill()
    for child in children:
        with suppress(psutil.Error):
            if {"federate.py", "track.py"} & {Path(word).name for word in child.cmdline()}:
                child.kill()
    psutil.wait_procs(children, timeout=60)
    process.wait()


@pytest.mark.engine
def test_killed_and_resumed_run_is_one_run_in_all_trackers(
    engine, tiny_model, tmp_path, monkeypatch
):
    engine("simulation")
    for variable in ("WANDB_MODE", "MLFLOW_TRACKING_URI", "TRACKIO_DIR"):
        monkeypatch.delenv(variable, raising=False)
    home = create_small_workflow(tmp_path / "home", tiny_model)
    folder = home / "results/tracking"
    config_file = home / "config/config.yaml"
    config = yaml.safe_load(config_file.read_text()) | {"tracking": sorted(READERS)}
    config["experiments"]["small"]["federation"] = {"rounds": 8}
    config["experiments"]["small"]["training"]["arguments"]["max_steps"] = 2
    config_file.write_text(yaml.safe_dump(config))
    for number in (2, 4):
        process = start_snakemake(home, "--cores", "2", TRACKED)
        wait_for_rounds(home, process, number)
        kill(process)
        start_snakemake(home, "--unlock").wait()
    run_snakemake(home, TRACKED)

    history = read_artifact(home / EXPERIMENT / "history.json", History)
    expected = {record.round: compute_metrics(record) for record in history.rounds}
    assert len(expected) == 9
    run = read_json(folder / "runs/small.json")["name"]
    assert [path.name for path in (folder / "tensorboard").iterdir()] == [run]
    monkeypatch.setenv("TRACKIO_DIR", str(folder / "trackio"))
    assert {name: read(folder, run) for name, read in READERS.items()} == dict.fromkeys(
        READERS, expected
    )
    # another tracker trains nothing again
    config_file.write_text(yaml.safe_dump(config | {"tracking": "mlflow"}))
    planned = run_snakemake(home, "--dry-run", TRACKED)
    assert "rule track:" in planned
    assert "rule federate:" not in planned
