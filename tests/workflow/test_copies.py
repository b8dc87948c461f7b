"""Copies of a finished folder: only the content of files counts, and not their times."""

import os
import random
import shutil
import subprocess

import pytest
from checkout import Checkout, copy_workflow

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def finished(checkout, finish):
    """A checkout in which everything is done, baselines included, with large local files."""
    own = checkout.root / "own"
    own.mkdir()
    (own / "rows.csv").write_text("text,label\n" + "fine,positive\n" * MEGABYTE)

    def change(data):
        data["datasets"]["vader-sentiment"]["source"] = {"kind": "path", "path": "own"}
        data["experiments"]["quickstart"]["baselines"] = {"centralised": True, "local": True}

    checkout.configure(change)
    return finish(checkout)


def copy(source, target):
    """Copy a folder as ``cp -r`` does: with new times."""
    subprocess.run(["cp", "-r", source, target], check=True)


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the finished checkout with new times."""
    copy(finished.root, tmp_path / "workflow")
    return Checkout(tmp_path / "workflow")


def test_nothing_reruns_in_a_copy(copied):
    assert copied.planned() == {}


def test_nothing_reruns_in_another_checkout_with_copied_results(finished, tmp_path):
    other = Checkout(tmp_path / "other")
    for name in ("results", ".snakemake"):
        other.root.mkdir(exist_ok=True)
        copy(finished.root / name, other.root / name)
    copy_workflow(tmp_path / "clone")
    copy(f"{tmp_path / 'clone'}/.", other.root)
    copy(finished.root / "own", other.root / "own")
    copy(finished.root / "config/config.yaml", other.root / "config/config.yaml")
    assert other.planned() == {}


@pytest.mark.parametrize("seed", range(3))
def test_times_of_files_do_not_count(copied, seed):
    generator = random.Random(seed)
    for path in sorted(copied.root.rglob("*")):
        os.utime(path, (time := generator.randrange(10**9), time))
    assert copied.planned() == {}


CHECKSUMS = {
    "models/smollm2-135m-instruct": {"preprocess", "federate", "merge", "evaluate", "report"},
    "datasets/vader-sentiment": {"partition", "preprocess", "merge", "evaluate", "report"},
    "partitions/by-domain": {"draw_partition", "preprocess", "federate", "evaluate", "report"},
    "preprocessed/by-domain/sentiment/smollm2-135m-instruct": {"federate", "merge", "evaluate"},
    "experiments/quickstart/adapter": {"merge", "report"},
    "experiments/quickstart/baselines/local_0/adapter": {"evaluate"},
    "experiments/quickstart/merged": {"evaluate", "report"},
}


@pytest.mark.parametrize("output", CHECKSUMS)
def test_readers_of_changed_checksums_rerun(copied, output):
    with (copied.root / f"results/{output}.checksums.json").open("a") as file:
        file.write(" ")
    assert CHECKSUMS[output] <= set(copied.planned())


def test_change_of_a_large_local_file_reruns(copied):
    with (copied.root / "own/rows.csv").open("r+") as file:
        file.write("Text")
    assert "download" in copied.planned()


def test_removed_folder_is_built_again_for_a_stage_that_reads_it(copied, finish):
    shutil.rmtree(copied.root / "results/partitions/by-domain")
    assert copied.planned() == {}
    assert "partition" in copied.planned("--forcerun", "preprocess")
