"""A disk that is full when a stage starts: the message names it, and the next run goes on."""

import csv
import shutil

import pytest
from patience import PATIENCE
from small_disks import fill, mount_small_disk
from small_workflow import (
    build_small_config,
    create_small_workflow,
    run_snakemake,
    start_snakemake,
    write_config,
)

from blossomtune.files import compute_file_sha256

NOT_COMPARED = ("logs", "benchmarks", "checkpoints", "report", "tracking")
"""Folders of results that name times."""


@pytest.fixture(scope="module")
def home(engine, tiny_model, tmp_path_factory):
    """Return a copy of the workflow whose results are on a disk of their own."""
    engine("simulation")
    home = create_small_workflow(tmp_path_factory.mktemp("full_disk"), tiny_model)
    config = build_small_config(tiny_model)
    config["experiments"]["small"]["federation"]["rounds"] = 1
    write_config(home, config)
    (home / "results").mkdir()
    with mount_small_disk(home / "results", 64):
        yield home


def list_stages(home):
    """Return the outputs of each rule, in the order in which they can be made."""
    text = run_snakemake(home, "all", "--summary", "--quiet", "all")
    lines = text[text.index("output_file") :].splitlines()
    stages = {}
    for row in csv.DictReader(lines, delimiter="\t"):
        stages.setdefault(row["rule"], []).append(home / row["output_file"])
    return dict(sorted(stages.items(), key=lambda item: min(map(get_mtime, item[1]))))


def get_mtime(path):
    return path.stat().st_mtime


def remove(path):
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def hash_results(home):
    """Return the hashes of all results that are to be the same in each run."""
    results = home / "results"
    return {
        str(file.relative_to(results)): compute_file_sha256(file)
        for file in results.rglob("*")
        if file.is_file() and file.relative_to(results).parts[0] not in NOT_COMPARED
    }


@pytest.mark.engine
def test_every_stage_names_the_full_disk_and_goes_on(home):
    run_snakemake(home, "all")
    expected = hash_results(home)
    stages = list_stages(home)
    assert {"download", "partition", "preprocess", "federate", "merge", "report"} <= set(stages)
    for rule, outputs in reversed(stages.items()):
        for path in outputs:
            remove(path)
        filler = fill(home / "results")
        target = str(outputs[0].relative_to(home))
        process = start_snakemake(home, target, "--cores", "1", "--rerun-triggers", "mtime")
        output, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode != 0, rule
        assert "no space left on the disk" in output, f"{rule}: {output}"
        assert str(home / "results") in output, f"{rule}: {output}"
        assert "Traceback" not in output, f"{rule}: {output}"
        assert not any(path.exists() for path in outputs), rule
        filler.unlink()
    run_snakemake(home, "all")
    assert hash_results(home) == expected
