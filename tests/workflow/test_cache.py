"""Snakemake's between-workflow cache: earlier results come back instead of being made again."""

import shutil

import pytest
from checkout import Checkout

DATA = ["fetch_model", "download", "partition", "preprocess"]
RESULTS = (
    "models/smollm2-135m-instruct",
    "datasets/vader-sentiment",
    "partitions/by-domain",
    "preprocessed/by-domain/sentiment/smollm2-135m-instruct",
)


@pytest.fixture
def cached(checkout, finish, tmp_path):
    """A function that gets things done in a checkout with a cache, and says which steps ran."""
    copy = Checkout(shutil.copytree(checkout.root, tmp_path / "workflow"))

    def run(target=f"results/{RESULTS[-1]}", change=None, place=copy):
        if change:
            place.configure(change)
        calls = place.root / "calls"
        calls.unlink(missing_ok=True)
        cache = tmp_path / "cache"
        cache.mkdir(exist_ok=True)
        finish(place, target, "--cache", SNAKEMAKE_OUTPUT_CACHE=str(cache))
        return calls.read_text().split() if calls.exists() else []

    run.root = copy.root
    return run


def put(section, name, **keys):
    return lambda data: data[section][name].update(keys)


def made(root):
    return [(root / "results" / name / "file").read_text() for name in RESULTS]


def test_going_back_to_an_earlier_value_restores(cached):
    assert sorted(cached()) == sorted(DATA)
    first = made(cached.root)
    changes = {
        "download": put("datasets", "vader-sentiment", limit=300),
        "partition": put("partitions", "by-domain", min_rows=2),
        "preprocess": put("preprocessing", "sentiment", max_length=200),
    }
    for stage, change in changes.items():
        assert cached(change=change) == DATA[DATA.index(stage) :]
        assert made(cached.root) != first

    def back(data):
        del data["datasets"]["vader-sentiment"]["limit"]
        del data["partitions"]["by-domain"]["min_rows"]
        data["preprocessing"]["sentiment"]["max_length"] = 256

    assert cached(change=back) == []
    assert made(cached.root) == first
    assert cached(change=changes["download"]) == []
    assert cached("results/experiments/quickstart/history.json") == ["federate"]


def test_another_checkout_finds_what_this_one_made(cached):
    cached()
    other = Checkout(shutil.copytree(cached.root, cached.root.parent / "other"))
    shutil.rmtree(other.root / "results")
    shutil.rmtree(other.root / ".snakemake")
    assert cached(place=other) == []
    assert made(other.root) == made(cached.root)


def test_code_and_local_files_are_part_of_the_key(cached):
    own = cached.root / "own"
    own.mkdir()
    (own / "a.csv").write_text("a")
    cached(
        "partitions",
        change=put("datasets", "vader-sentiment", source={"kind": "path", "path": "own"}),
    )
    (own / "a.csv").write_text("b")
    assert "download" in cached("partitions")
    (own / "a.csv").rename(own / "b.csv")  # `file` in a template is its name
    assert "download" in cached("partitions")
    with (cached.root / "workflow_scripts/blossomtune/data/preparation/build_dataset.py").open(
        "a"
    ) as code:
        code.write("# a comment\n")
    assert "download" in cached("partitions")


def test_members_of_a_mixture_are_told_apart(cached):
    one, two = ({"source": {"kind": "path", "path": f"{name}.csv"}} for name in "ab")
    for name in "ab":
        (cached.root / f"{name}.csv").write_text(name)

    def mix(first, second):
        def change(data):
            mixture = {"source": {"kind": "mixture", "datasets": ["one", "two"]}}
            data["datasets"] = {"one": first, "two": second, "vader-sentiment": mixture}

        return change

    assert cached("partitions", change=mix(one, two)).count("download") == 3
    assert cached("partitions", change=mix(two, one)) == ["download", "partition", "draw_partition"]
    assert cached("partitions", change=mix(one, two)) == ["draw_partition"]


def test_without_it_nothing_is_a_link(finish, checkout, tmp_path):
    copy = Checkout(shutil.copytree(checkout.root, tmp_path / "workflow"))
    finish(copy, "partitions", SNAKEMAKE_OUTPUT_CACHE=str(tmp_path / "cache"))
    assert not (copy.root / "results/datasets/vader-sentiment").is_symlink()
    assert not (tmp_path / "cache").exists()
    assert (copy.root / "results/benchmarks/download/vader-sentiment.tsv").exists()


@pytest.mark.parametrize("folder", ["../cache", "/does/not/exist"])
def test_cache_folder_must_be_absolute_and_exist(checkout, folder):
    result = checkout.snakemake("--dry-run", "--cache", SNAKEMAKE_OUTPUT_CACHE=folder)
    assert result.returncode == 1
    assert f"SNAKEMAKE_OUTPUT_CACHE: '{folder}' is not allowed" in result.stdout
