from collections import Counter

import datasets
import numpy as np
import pyarrow as pa
import pytest
from artifact_samples import dataset_manifest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from blossomtune.artifacts.files import write_artifact
from blossomtune.config.datasets import DatasetSettings
from blossomtune.data.preparation import build_dataset, mixture
from blossomtune.errors import UserError
from blossomtune.seeds import derive_seed

SIZES = st.lists(st.integers(1, 40), min_size=2, max_size=4)


def order(sizes, *rest):
    return mixture.order_rows({f"m{i}": size for i, size in enumerate(sizes)}, *rest)


@settings(max_examples=40)
@given(SIZES, st.data())
def test_rows_in_turn(sizes, data):
    weights = data.draw(st.lists(st.floats(0.5, 3), min_size=len(sizes), max_size=len(sizes)))
    until = data.draw(st.sampled_from(["first_exhausted", "all_exhausted"]))
    drawn = order(sizes, weights, until, 3)
    assert (drawn == order(sizes, weights, until, 3)).all()
    ends = np.cumsum(sizes)
    counts = []
    for start, end in zip([0, *ends], ends, strict=False):
        rows = drawn[(drawn >= start) & (drawn < end)] - start
        assert (rows == np.arange(len(rows)) % (end - start)).all()  # in order, then anew
        counts.append(len(rows))
    whole = [count >= size for count, size in zip(counts, sizes, strict=True)]
    if until == "all_exhausted":
        assert all(whole)
    else:
        assert sum(whole) == 1
        assert len(drawn) == len(set(drawn.tolist()))


@settings(max_examples=20)
@given(SIZES, st.integers(0, 99), st.sampled_from(["first_exhausted", "all_exhausted"]))
def test_the_order_is_that_of_datasets(sizes, seed, until):
    ends, weights = np.cumsum(sizes), [i + 1.5 for i in range(len(sizes))]
    mixed = datasets.interleave_datasets(
        [
            datasets.Dataset.from_dict({"row": np.arange(end - size, end)})
            for size, end in zip(sizes, ends, strict=True)
        ],
        probabilities=(np.array(weights) / sum(weights)).tolist(),
        seed=derive_seed(seed, "mixture"),
        stopping_strategy=until,
    )
    assert order(sizes, weights, until, seed).tolist() == list(mixed["row"])


def test_shares_come_close_to_the_weights_and_the_seed_decides():
    sizes, weights = [6000, 6000, 6000], [1, 2, 5]
    drawn, other = (order(sizes, weights, "first_exhausted", seed) for seed in (1, 2))
    shares = np.bincount(drawn // 6000) / len(drawn)
    assert shares == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.02)
    assert drawn[:100].tolist() != other[:100].tolist()


def test_without_weights_one_after_another():
    assert order([2, 0, 3], None, "first_exhausted", 1).tolist() == [0, 1, 2, 3, 4]


def test_nothing_can_be_drawn_from_nothing():
    with pytest.raises(UserError, match=r"source\.weights: m1 has no training rows to draw"):
        order([2, 0], [1, 1], "all_exhausted", 1)


@pytest.fixture
def members(tmp_path):
    """Two data sets as download writes them; they share some columns and some rows."""

    def write(name, licence, **parts):
        folder = tmp_path / name
        folder.mkdir()
        for part, columns in parts.items():
            parquet.write_table(pa.table(columns), folder / f"{part}.parquet")
        write_artifact(folder / "manifest.json", dataset_manifest(licence=licence))
        return folder

    texts = [f"news {i}" for i in range(20)]
    news = write(
        "news",
        "MIT",
        train={"text": texts, "n": list(range(20))},
        test={"text": ["web 3", "news x"], "n": [1, 2]},
    )
    web = write(
        "web",
        "CC0-1.0",
        train={"n": [i / 2 for i in range(10)], "text": [f"web {i}" for i in range(10)]},
        test={"n": [0.5], "text": ["news 7"], "url": ["example.org"]},
    )
    return [news, web]


def mixed(tmp_path, members, name="out", source=None, **block):
    source = {"kind": "mixture", "datasets": ["news", "web"]} | (source or {})
    config = DatasetSettings.model_validate({"source": source, **block}).model_dump(mode="json")
    out = tmp_path / name
    out.mkdir()
    manifest = build_dataset.build_dataset(config | {"seed": 5}, out, members)
    return manifest.model_dump(), *(
        parquet.read_table(out / f"{n}.parquet") for n in ("train", "test")
    )


def test_test_rows_of_any_member_reach_no_client(tmp_path, members):
    manifest, train, test = mixed(tmp_path, members, deduplicate_by=["text"])
    assert Counter(train["source"].to_pylist()) == {"news": 19, "web": 9}
    assert not {"web 3", "news 7"} & set(train["text"].to_pylist())
    assert test.to_pylist() == [
        {"text": "web 3", "n": 1.0, "source": "news", "url": None},
        {"text": "news x", "n": 2.0, "source": "news", "url": None},
        {"text": "news 7", "n": 0.5, "source": "web", "url": "example.org"},
    ]
    assert train.schema == test.schema
    expected = {"read": 33, "filtered": 0, "duplicates": 2, "limited": 0, "train": 28, "test": 3}
    assert manifest["rows"] == expected
    assert (manifest["stratify_by"], manifest["licence"]) == ("source", "CC0-1.0, MIT")


def test_a_mixture_is_worked_through_like_any_data_set(tmp_path, members):
    _, train, test = mixed(
        tmp_path,
        members,
        rename={"source": "origin"},
        derive={"file": "{{ file }}/{{ origin }}"},
        filter="n > 1.2",
        columns=["text", "file", "origin"],
        shuffle_seed=1,
        limit=12,
    )
    assert train.column_names == test.column_names == ["text", "file", "origin"]
    assert (train.num_rows, test["text"].to_pylist()) == (12, ["news x"])
    assert set(train["file"].to_pylist()) == {"news/news", "web/web"}


def test_rows_that_the_filter_leaves_keep_the_order_in_which_they_were_drawn(tmp_path, members):
    source = {"weights": [1, 2], "until": "all_exhausted"}
    _, train, _ = mixed(tmp_path, members, "all", source)
    manifest, some, _ = mixed(tmp_path, members, "some", source, filter="n >= 1")
    everything = [row for row in train.to_pylist() if row["n"] >= 1]
    assert [r["text"] for r in some.to_pylist()] == [r["text"] for r in everything]
    one = 1  # test row, with n of 0.5
    assert manifest["rows"]["filtered"] == train.num_rows - some.num_rows + one
    assert some.num_rows > 26  # some come twice
    manifest, once, _ = mixed(tmp_path, members, "once", source, deduplicate_by=["text"])
    assert once["text"].to_pylist() == [
        text for text in dict.fromkeys(train["text"].to_pylist()) if text not in ("web 3", "news 7")
    ]


def test_a_column_that_is_called_source_already(tmp_path, members):
    train = {"source": ["x"], "text": ["y"], "n": [1]}
    parquet.write_table(pa.table(train), members[1] / "train.parquet")
    with pytest.raises(UserError, match=r"web has a column 'source' already(.|\n)*rename it in"):
        mixed(tmp_path, members)


def test_types_that_clash(tmp_path, members):
    parquet.write_table(pa.table({"n": ["one"]}), members[1] / "train.parquet")
    with pytest.raises(UserError, match="web: column 'n' has the type int64 in some rows and str"):
        mixed(tmp_path, members)


def test_a_mixture_without_test_rows_of_a_licence_that_is_unknown(tmp_path, members):
    write_artifact(members[0] / "manifest.json", dataset_manifest(licence=None))
    manifest, _, _ = mixed(tmp_path, members, columns=["text"])
    assert manifest["licence"] is manifest["stratify_by"] is None
