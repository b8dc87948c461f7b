"""The workflow on Slurm, with every stage as a job in a container."""

import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from patience import PATIENCE, wait_until
from small_workflow import create_small_workflow, start_snakemake, write_config

from blossomtune.files import compute_file_sha256

ROUNDS = 6


@dataclass
class SlurmRun:
    """A finished run: its folder, cancelled job, output, and the cancelled job's log."""

    home: Path
    cancelled_job: str
    output: str
    first_log: str


def run_slurm(*command):
    """Run a Slurm command; return its output."""
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def count_nodes():
    """Return the number of nodes to use: two, or one where the cluster has one."""
    return min(2, len(run_slurm("sinfo", "--Node", "--noheader").splitlines()))


def list_jobs(home, rule):
    """Return the ids of a workflow's running and finished jobs of a rule, in order."""
    output = run_slurm("squeue", "--noheader", "--states=all", "--format=%i %Z %k", "--sort=i")
    jobs = [line.split(maxsplit=2) for line in output.splitlines()]
    return [job for job, folder, name in jobs if folder == str(home) and f"rule_{rule}" in name]


@pytest.fixture(scope="module")
def finished_run(engine, apptainer_image, tiny_model, tmp_path_factory):
    """Run two experiments that differ in their engine; cancel the federate job of one."""
    engine("slurm")
    home = create_small_workflow(tmp_path_factory.mktemp("slurm"), tiny_model)
    data = yaml.safe_load((home / "config/config.yaml").read_text())
    data["container"] = {"image": apptainer_image}
    one = data["experiments"].pop("small")
    one["federation"] = {"rounds": ROUNDS, "gpus_per_client": 1}
    two = one | {"federation": one["federation"] | {"gpus_per_client": 0}}
    slurm = {"name": "slurm", "image": apptainer_image, "nodes": count_nodes()}
    two["federation"]["engine"] = slurm
    data |= {"experiments": {"simulated": one, "deployed": two}, "run": ["simulated", "deployed"]}
    write_config(home, data)
    for path in tiny_model.iterdir():
        path.chmod(0o644)
    options = ["--profile", "profiles/slurm", "--use-singularity", "--slurm-status-command"]
    options += ["squeue", "--seconds-between-status-checks", "3"]
    options += ["--slurm-init-seconds-before-status-checks", "3"]
    process = start_snakemake(home, *options)

    def has_second_round():
        assert process.poll() is None, process.stdout.read()
        return list((home / "results/checkpoints/simulated").glob("*/round-00002"))

    wait_until(has_second_round)
    first_log = (home / "results/logs/federate/simulated.log").read_text()
    jobs = list_jobs(home, "federate")
    [job] = [job for job in jobs if "gpu" in run_slurm("scontrol", "show", "job", job)]
    run_slurm("scancel", job)
    output, _ = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, output
    return SlurmRun(home, job, output, first_log)


@pytest.mark.engine
def test_every_stage_runs_as_a_job(finished_run):
    assert (finished_run.home / "results/report/index.html").exists()
    for rule in ("preprocess", "federate", "merge", "evaluate", "report"):
        assert list_jobs(finished_run.home, rule)


@pytest.mark.engine
def test_federate_job_requests_a_gpu(finished_run):
    job = run_slurm("scontrol", "show", "job", finished_run.cancelled_job)
    assert "gpu:1" in job.replace("gpu=1", "gpu:1")


@pytest.mark.engine
def test_cancelled_job_is_resumed(finished_run):
    assert "round 2/" in finished_run.first_log
    log = (finished_run.home / "results/logs/federate/simulated.log").read_text()
    assert "going on after round" in log, finished_run.output


@pytest.mark.engine
def test_slurm_engine_makes_the_same_adapter(finished_run):
    """The SuperNodes are steps of a job on two nodes, where the cluster has them."""
    home = finished_run.home
    jobs = [run_slurm("scontrol", "show", "job", job) for job in list_jobs(home, "federate")]
    assert any(f"NumNodes={count_nodes()} " in job for job in jobs)
    name = "adapter/adapter_model.safetensors"
    digests = {
        compute_file_sha256(home / f"results/experiments/{e}" / name)
        for e in ("simulated", "deployed")
    }
    assert len(digests) == 1
