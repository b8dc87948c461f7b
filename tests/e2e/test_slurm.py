"""The workflow on a real Slurm cluster, with each stage as a job in a container."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from checkouts import small_workflow

from blossomtune.files import compute_file_sha256

ROUNDS = 6


def run_slurm(*command):
    """Return the output of a Slurm command."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def count_nodes():
    """Return the number of nodes to use: two, if the cluster has as many."""
    return min(2, len(run_slurm("sinfo", "--Node", "--noheader").splitlines()))


def list_jobs(home, rule):
    """Return the ids of a workflow's jobs of a rule, the latest last."""
    listing = run_slurm("squeue", "--noheader", "--states=all", "--format=%i %Z %k", "--sort=i")
    lines = [line.split() for line in listing.splitlines()]
    return [words[0] for words in lines if words[1] == str(home) and f"rule_{rule}" in words[2]]


@pytest.fixture(scope="module")
def finished_run(engine, sif, tiny_model, tmp_path_factory):
    """Run two experiments that differ in their engine; cancel the federate job of one."""
    engine("slurm")
    home = small_workflow(tmp_path_factory.mktemp("slurm"), tiny_model)
    file = home / "config/config.yaml"
    data = yaml.safe_load(file.read_text())
    data["container"] = {"image": sif}
    one = data["experiments"].pop("small")
    one["federation"] = {"rounds": ROUNDS, "gpus_per_client": 1}
    two = one | {"federation": one["federation"] | {"gpus_per_client": 0}}
    two["federation"]["engine"] = {"name": "slurm", "image": sif, "nodes": count_nodes()}
    data |= {"experiments": {"simulated": one, "deployed": two}, "run": ["simulated", "deployed"]}
    file.write_text(yaml.safe_dump(data))
    for path in tiny_model.iterdir():
        path.chmod(0o644)
    options = [
        "--profile",
        "profiles/slurm",
        "--use-singularity",
        "--slurm-status-command",
        "squeue",
    ]
    options += [
        "--seconds-between-status-checks",
        "3",
        "--slurm-init-seconds-before-status-checks",
        "3",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", *options],
        cwd=home,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    rounds = home / "results/checkpoints/simulated"
    end = time.monotonic() + 600
    while not list(rounds.glob("*/round-00002")):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < end
        time.sleep(0.1)
    log_of_cancelled_job = (home / "results/logs/federate/simulated.log").read_text()
    [job] = [
        j for j in list_jobs(home, "federate") if "gpu" in run_slurm("scontrol", "show", "job", j)
    ]
    run_slurm("scancel", job)
    output, _ = process.communicate(timeout=900)
    return home, job, output, process.returncode, log_of_cancelled_job


@pytest.mark.engine
def test_all_stages_run_as_jobs(finished_run):
    home, _, output, status, _ = finished_run
    assert status == 0, output
    assert (home / "results/report/index.html").exists()
    for rule in ("preprocess", "federate", "merge", "evaluate", "report"):
        assert list_jobs(home, rule)


@pytest.mark.engine
def test_gpus_are_requested(finished_run):
    assert "gpu:1" in run_slurm("scontrol", "show", "job", finished_run[1]).replace(
        "gpu=1", "gpu:1"
    )


@pytest.mark.engine
def test_cancelled_job_is_resumed(finished_run):
    home, _, output, _, log_of_cancelled_job = finished_run
    assert "round 2/" in log_of_cancelled_job
    log = (home / "results/logs/federate/simulated.log").read_text()
    assert "going on after round" in log, output


@pytest.mark.engine
def test_supernodes_as_job_steps_make_the_same_adapter(finished_run):
    """The SuperNodes are on two nodes, if the cluster has as many."""
    home = finished_run[0]
    descriptions = [
        run_slurm("scontrol", "show", "job", job) for job in list_jobs(home, "federate")
    ]
    assert any(f"NumNodes={count_nodes()} " in text for text in descriptions)
    name = "adapter/adapter_model.safetensors"
    experiments = (home / "results/experiments" / e for e in ("simulated", "deployed"))
    assert len({compute_file_sha256(folder / name) for folder in experiments}) == 1
