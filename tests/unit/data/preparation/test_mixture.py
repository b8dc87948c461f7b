"""Tests of mixtures of data sets."""

from collections import Counter

import datasets
import numpy as np
import pyarrow as pa
import pytest
from artifact_samples import dataset_manifest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from blossomtune.artifacts.dataset_manifest import RowCounts
from blossomtune.artifacts.files import write_artifact
from blossomtune.config.datasets import DatasetSettings
from blossomtune.data.preparation import build_dataset, mixture
from blossomtune.errors import UserError
from blossomtune.seeds import derive_seed

SIZES = st.lists(st.integers(1, 40), min_size=2, max_size=4)


def order_rows(sizes, *args):
    return mixture.order_rows({f"m{i}": size for i, size in enumerate(sizes)}, *args)


@settings(max_examples=40)
@given(SIZES, st.data())
def test_members_are_interleaved_in_order(sizes, data):
    weights = data.draw(st.lists(st.floats(0.5, 3), min_size=len(sizes), max_size=len(sizes)))
    until = data.draw(st.sampled_from(["first_exhausted", "all_exhausted"]))
    indices = order_rows(sizes, weights, until, 3)
    assert (indices == order_rows(sizes, weights, until, 3)).all()
    ends = np.cumsum(sizes)
    counts = []
    for start, end in zip([0, *ends], ends, strict=False):
        rows = indices[(indices >= start) & (indices < end)] - start
        assert (
            rows == np.arange(len(rows)) % (end - start)
        ).all()  # in order, then again from the first
        counts.append(len(rows))
    exhausted = [count >= size for count, size in zip(counts, sizes, strict=True)]
    if until == "all_exhausted":
        assert all(exhausted)
    else:
        assert sum(exhausted) == 1
        assert len(indices) == len(set(indices.tolist()))


@settings(max_examples=20)
@given(SIZES, st.integers(0, 99), st.sampled_from(["first_exhausted", "all_exhausted"]))
def test_order_equals_interleave_datasets(sizes, seed, until):
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
    assert order_rows(sizes, weights, until, seed).tolist() == list(mixed["row"])


def test_shares_follow_weights_and_order_follows_the_seed():
    sizes, weights = [6000, 6000, 6000], [1, 2, 5]
    indices, other = (order_rows(sizes, weights, "first_exhausted", seed) for seed in (1, 2))
    shares = np.bincount(indices // 6000) / len(indices)
    assert shares == pytest.approx([1 / 8, 2 / 8, 5 / 8], abs=0.02)
    assert indices[:100].tolist() != other[:100].tolist()


def test_members_are_concatenated_without_weights():
    assert order_rows([2, 0, 3], None, "first_exhausted", 1).tolist() == [0, 1, 2, 3, 4]


def test_weighted_member_without_rows_is_rejected():
    with pytest.raises(UserError, match=r"source\.weights: m1 has no training rows to draw"):
        order_rows([2, 0], [1, 1], "all_exhausted", 1)


@pytest.fixture
def members(tmp_path):
    """Write two data sets that share some columns and some rows."""

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


def build_mixture(tmp_path, members, name="out", source=None, **changes):
    source = {"kind": "mixture", "datasets": ["news", "web"]} | (source or {})
    config = DatasetSettings.model_validate({"source": source, **changes}).model_dump(mode="json")
    out = tmp_path / name
    out.mkdir()
    manifest = build_dataset.build_dataset(config | {"seed": 5}, out, members)
    return manifest.model_dump(), *(
        parquet.read_table(out / f"{n}.parquet") for n in ("train", "test")
    )


def test_test_rows_of_members_are_not_in_the_training_rows(tmp_path, members):
    manifest, train, test = build_mixture(tmp_path, members, deduplicate_by=["text"])
    assert Counter(train["source"].to_pylist()) == {"news": 19, "web": 9}
    assert not {"web 3", "news 7"} & set(train["text"].to_pylist())
    assert test.to_pylist() == [
        {"text": "web 3", "n": 1.0, "source": "news", "url": None},
        {"text": "news x", "n": 2.0, "source": "news", "url": None},
        {"text": "news 7", "n": 0.5, "source": "web", "url": "example.org"},
    ]
    assert train.schema == test.schema
    expected = dict.fromkeys(RowCounts.model_fields, 0)
    expected |= {"read": 33, "duplicates": 2, "train": 28, "test": 3}
    assert manifest["rows"] == expected
    assert (manifest["stratify_by"], manifest["licence"]) == ("source", "CC0-1.0, MIT")


def test_mixture_is_transformed_like_a_data_set(tmp_path, members):
    _, train, test = build_mixture(
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


def test_filtered_rows_keep_the_interleaved_order(tmp_path, members):
    source = {"weights": [1, 2], "until": "all_exhausted"}
    _, train, _ = build_mixture(tmp_path, members, "all", source)
    manifest, some, _ = build_mixture(tmp_path, members, "some", source, filter="n >= 1")
    everything = [row for row in train.to_pylist() if row["n"] >= 1]
    assert [r["text"] for r in some.to_pylist()] == [r["text"] for r in everything]
    one = 1  # test row, with n of 0.5
    assert manifest["rows"]["filtered"] == train.num_rows - some.num_rows + one
    assert some.num_rows > 26  # some come twice
    manifest, once, _ = build_mixture(tmp_path, members, "once", source, deduplicate_by=["text"])
    assert once["text"].to_pylist() == [
        text for text in dict.fromkeys(train["text"].to_pylist()) if text not in ("web 3", "news 7")
    ]


def test_existing_source_column_is_rejected(tmp_path, members):
    train = {"source": ["x"], "text": ["y"], "n": [1]}
    parquet.write_table(pa.table(train), members[1] / "train.parquet")
    with pytest.raises(UserError, match=r"web has a column 'source' already(.|\n)*rename it in"):
        build_mixture(tmp_path, members)


def test_incompatible_types_are_rejected(tmp_path, members):
    parquet.write_table(pa.table({"n": ["one"]}), members[1] / "train.parquet")
    with pytest.raises(UserError, match="web: column 'n' has the type int64 in some rows and str"):
        build_mixture(tmp_path, members)


def test_unknown_licence_of_a_member_makes_the_licence_unknown(tmp_path, members):
    write_artifact(members[0] / "manifest.json", dataset_manifest(licence=None))
    manifest, _, _ = build_mixture(tmp_path, members, columns=["text"])
    assert manifest["licence"] is manifest["stratify_by"] is None
