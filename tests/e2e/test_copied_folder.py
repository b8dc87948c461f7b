"""A finished workflow is copied, and files of it are damaged."""

import re
import shutil
import subprocess

import pytest
import yaml
from small_workflow import (
    create_small_workflow,
    run_snakemake,
    run_step,
    start_snakemake,
    write_config,
)

PREPROCESSED = "results/preprocessed/teams/short/tiny"
EXPERIMENT = "results/experiments/small"
ADAPTER = f"{EXPERIMENT}/adapter/adapter_model.safetensors"

DAMAGES = [
    ("report", f"{EXPERIMENT}/history.json", "federate"),
    ("evaluate", f"{EXPERIMENT}/merged/model.safetensors", "merge"),
    ("merge", ADAPTER, "federate"),
    ("train_baseline", f"{PREPROCESSED}/client_0.arrow", "preprocess"),
    ("federate", "results/partitions/teams/client_0.parquet", "partition"),
    ("preprocess", "results/partitions/teams/client_0.parquet", "partition"),
    ("partition", "results/datasets/words/train.parquet", "download"),
]
"""Reader, damaged file, and its stage. Last readers come first, since they lose their outputs."""


@pytest.fixture(scope="module")
def finished(tiny_model, tmp_path_factory):
    """Return a finished workflow."""
    home = create_small_workflow(tmp_path_factory.mktemp("finished"), tiny_model)
    shutil.copytree(tiny_model, home / "own_model")
    config = yaml.safe_load((home / "config/config.yaml").read_text())
    config["models"]["tiny"]["source"]["path"] = "own_model"
    config["experiments"]["small"]["federation"]["rounds"] = 1
    write_config(home, config)
    run_snakemake(home)
    return home


@pytest.fixture
def copied(finished, tmp_path):
    """Return a copy of it with new times."""
    subprocess.run(["cp", "-r", finished, tmp_path / "copy"], check=True)
    return tmp_path / "copy"


def flip_byte(file):
    """Change a byte in the middle of a file."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def test_nothing_is_to_be_done_in_a_copy(copied):
    assert "Nothing to be done" in run_snakemake(copied, "--dry-run")


def test_damaged_file_is_named_by_each_stage_that_reads_it(copied):
    """Run each stage's command as Snakemake prints it, on a damaged input."""
    config = yaml.safe_load((copied / "config/config.yaml").read_text())
    config["experiments"]["small"]["baselines"] = {"centralised": True}
    write_config(copied, config)
    planned = run_snakemake(copied, "--dry-run", "--printshellcmds", "--forceall")
    for reader, name, stage in DAMAGES:
        [command] = re.findall(rf"(python workflow_scripts/{reader}\.py .*)", planned)
        before = (copied / name).read_bytes()
        flip_byte(copied / name)
        done = run_step(copied, command)
        assert done.returncode == 1, f"{reader} has read {name}"
        log = "".join(file.read_text() for file in (copied / "results/logs").rglob("*.log"))
        expected = f"error: {name}: the content has changed since stage {stage} wrote it"
        assert expected in done.stdout + log
        (copied / name).write_bytes(before)


def test_command_of_the_hint_repairs_a_damaged_file(copied, finished):
    flip_byte(copied / ADAPTER)
    process = start_snakemake(copied, "--cores", "1", "--forcerun", "merge")
    output, _ = process.communicate()
    [command] = re.findall(r"hint: `snakemake --cores all (.*)` builds it again", output)
    run_snakemake(copied, *command.split(), "--until", "merge")
    for name in (ADAPTER, f"{EXPERIMENT}/merged/model.safetensors"):
        assert (copied / name).read_bytes() == (finished / name).read_bytes()
    log = (copied / "results/logs/federate/small.log").read_text()
    assert "round 1/" not in log, "a copied folder resumes from its checkpoints"
