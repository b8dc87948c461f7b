"""The workflow on a real Slurm, every stage a job in a container."""

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


def slurm(*words):
    """What a command of Slurm prints."""
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout


def nodes():
    """How many nodes of the cluster to use: two, where it has so many."""
    return min(2, len(slurm("sinfo", "--Node", "--noheader").splitlines()))


def jobs(home, rule):
    """Ids of a workflow's jobs of a rule that are running or have run, the latest last."""
    told = slurm("squeue", "--noheader", "--states=all", "--format=%i %Z %k", "--sort=i")
    lines = [line.split() for line in told.splitlines()]
    return [words[0] for words in lines if words[1] == str(home) and f"rule_{rule}" in words[2]]


@pytest.fixture(scope="module")
def ran(engine, sif, tiny_model, tmp_path_factory):
    """A run of two experiments that differ in their engine; one's federate job is cancelled."""
    engine("slurm")
    home = small_workflow(tmp_path_factory.mktemp("slurm"), tiny_model)
    file = home / "config/config.yaml"
    data = yaml.safe_load(file.read_text())
    data["container"] = {"image": sif}
    one = data["experiments"].pop("small")
    one["federation"] = {"rounds": ROUNDS, "gpus_per_client": 1}
    two = one | {"federation": one["federation"] | {"gpus_per_client": 0}}
    two["federation"]["engine"] = {"name": "slurm", "image": sif, "nodes": nodes()}
    data |= {"experiments": {"simulated": one, "deployed": two}, "run": ["simulated", "deployed"]}
    file.write_text(yaml.safe_dump(data))
    for path in tiny_model.iterdir():
        path.chmod(0o644)
    words = ["--profile", "profiles/slurm", "--use-singularity", "--slurm-status-command", "squeue"]
    words += [
        "--seconds-between-status-checks",
        "3",
        "--slurm-init-seconds-before-status-checks",
        "3",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "snakemake", *words],
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
    cancelled = (home / "results/logs/federate/simulated.log").read_text()
    [job] = [j for j in jobs(home, "federate") if "gpu" in slurm("scontrol", "show", "job", j)]
    slurm("scancel", job)
    said, _ = process.communicate(timeout=900)
    return home, job, said, process.returncode, cancelled


@pytest.mark.engine
def test_the_whole_workflow_runs_as_jobs(ran):
    home, _, said, status, _ = ran
    assert status == 0, said
    assert (home / "results/report/index.html").exists()
    for rule in ("preprocess", "federate", "merge", "evaluate", "report"):
        assert jobs(home, rule)


@pytest.mark.engine
def test_gpus_are_asked_for(ran):
    assert "gpu:1" in slurm("scontrol", "show", "job", ran[1]).replace("gpu=1", "gpu:1")


@pytest.mark.engine
def test_a_cancelled_job_goes_on_where_it_was(ran):
    home, _, said, _, cancelled = ran
    assert "round 2/" in cancelled
    log = (home / "results/logs/federate/simulated.log").read_text()
    assert "going on after round" in log, said


@pytest.mark.engine
def test_supernodes_in_steps_of_a_job_make_the_same_adapter(ran):
    """On two nodes, where the cluster has them."""
    home = ran[0]
    used = [slurm("scontrol", "show", "job", job) for job in jobs(home, "federate")]
    assert any(f"NumNodes={nodes()} " in job for job in used)
    name = "adapter/adapter_model.safetensors"
    made = {
        compute_file_sha256(home / f"results/experiments/{e}" / name)
        for e in ("simulated", "deployed")
    }
    assert len(made) == 1
