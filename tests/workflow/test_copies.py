"""Copies of a finished folder: only the content of files counts, and not their times."""

import os
import random
import re
import shutil
import subprocess

import pytest
from checkout import Checkout, copy_workflow

SUFFIX = ".checksums.json"
ROWS = 100_000  # 1.4 MB, above the size up to which Snakemake compares content by default


@pytest.fixture(scope="module")
def finished(checkout, finish):
    """A checkout in which everything is done, baselines included, with large local files."""
    own = checkout.root / "own"
    own.mkdir()
    (own / "rows.csv").write_text("text,label\n" + "fine,positive\n" * ROWS)

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


def test_nothing_reruns_in_a_copy_whatever_its_times(copied):
    assert copied.planned() == {}
    generator = random.Random(0)
    for path in sorted(copied.root.rglob("*")):
        os.utime(path, (time := generator.randrange(10**9), time))
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


def test_every_reader_of_a_folder_has_its_checksums_as_input(finished):
    result = finished.snakemake("--dry-run", "--forceall")
    jobs = re.findall(
        r"^rule (\w+):\n    input: (.*)\n    output: (.*)\n", result.stdout, flags=re.M
    )
    inputs = [(rule, names.split(", ")) for rule, names, _ in jobs]
    outputs = {name for *_, names in jobs for name in names.split(", ")}
    folders = {name.removesuffix(SUFFIX) for name in outputs if name.endswith(SUFFIX)}
    readers = [(rule, f, names) for rule, names in inputs for f in folders if f in names]
    assert {rule for rule, *_ in readers} == {rule for rule, _ in inputs} - {
        "download",
        "fetch_model",
        "collect_metrics",
    }
    assert [(rule, f) for rule, f, names in readers if f + SUFFIX not in names] == []


@pytest.mark.parametrize(
    ("output", "rules"),
    [
        ("partitions/by-domain", {"draw_partition", "preprocess", "federate", "evaluate"}),
        ("experiments/quickstart/adapter", {"merge", "evaluate", "collect_metrics", "report"}),
    ],
)
def test_readers_of_changed_checksums_rerun(copied, output, rules):
    with (copied.root / f"results/{output}{SUFFIX}").open("a") as file:
        file.write(" ")
    assert rules <= set(copied.planned())


def test_change_of_a_large_local_file_reruns(copied):
    with (copied.root / "own/rows.csv").open("r+") as file:
        file.write("Text")
    assert "download" in copied.planned()


def test_removed_folder_is_built_again_for_a_stage_that_reads_it(copied, finish):
    shutil.rmtree(copied.root / "results/partitions/by-domain")
    assert copied.planned() == {}
    assert "partition" in copied.planned("--forcerun", "preprocess")


def test_other_code_that_is_older_than_the_results_reruns(copied):
    file = copied.root / "workflow_scripts/blossomtune/export/merge.py"
    file.write_text(file.read_text() + "# a comment\n")
    os.utime(file, (0, 0))
    assert {"merge", "evaluate", "collect_metrics", "report"} <= set(copied.planned())
