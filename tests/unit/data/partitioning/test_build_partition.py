"""Tests of the files and the manifest of a partition."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest
from artifact_samples import dataset_manifest
from pyarrow import parquet

import blossomtune
from blossomtune.artifacts.checksums import write_checksums
from blossomtune.artifacts.files import write_artifact
from blossomtune.data.partitioning import build_partition
from blossomtune.data.sources.file_formats import ROWS_PER_BATCH, write_parquet
from blossomtune.errors import UserError
from blossomtune.files import compute_file_sha256, read_json, to_canonical_json

SCRIPT = Path(blossomtune.__file__).parents[1] / "partition.py"
TABLE = pa.table(
    {
        "text": [f"row {i}, or so" for i in range(40)],
        "domain": (["web", "news", "web", "books"] * 10),
        "label": (["yes", "no"] * 20),
    }
)


def make_iid_config(clients, **changes):
    config = {"partitioner": "iid", "num_partitions": clients, "label_column": None, "min_rows": 1}
    return {**config, "validation_size": 0, "test_size": 0, "seed": 1, **changes}


def make_domain_config(**changes):
    return make_iid_config(3, **{"partitioner": "natural_id", "column": "domain", **changes})


@pytest.fixture
def dataset(tmp_path):
    """Return a function that writes a data set of a table's rows."""

    def write(table=TABLE, stratify_by="label"):
        folder = tmp_path / "dataset"
        folder.mkdir()
        write_parquet(table.to_batches(), table.schema, folder / "train.parquet")
        origin = {"revision": "7", "licence": "MIT", "stratify_by": stratify_by}
        manifest = dataset_manifest(columns=table.column_names, **origin)
        write_artifact(folder / "manifest.json", manifest)
        return folder

    return write


@pytest.fixture
def build(tmp_path):
    """Return a function that builds a partition and returns folder and manifest."""

    def run(config, folder):
        out = tmp_path / f"out {len(list(tmp_path.iterdir()))}"
        out.mkdir()
        result = build_partition.build_partition(config, folder, out)
        manifest = read_json(out / "manifest.json")
        assert manifest == result.model_dump(mode="json")
        return out, manifest

    return run


def read_rows(folder, file):
    return parquet.read_table(folder / file).to_pylist()


def test_manifest_describes_each_client(dataset, build):
    out, manifest = build(make_domain_config(), dataset())
    clients = manifest.pop("clients")
    assert manifest == {
        "partitioner": "natural_id",
        "column": "domain",
        "label_column": "label",  # the test split's column by default
        "seed": 1,
        "dataset": {"source": {"kind": "path"}, "revision": "7", "licence": "MIT"},
        "class_labels": [],
        "labels": {"yes": 20, "no": 20},
        "schema_version": 1,
    }
    assert [client["rows"] for client in clients] == [10, 10, 20]
    checksum = compute_file_sha256(out / "client_1.parquet")
    assert clients[1] == {
        "client": 1,
        "name": "news",
        "rows": 10,
        "validation": 0,
        "test": 0,
        "labels": {"no": 10},
        "tokens": 10 * (5 + 1 + 1),
        "distance": 0.557923,
        "readings": None,
        "sha256": checksum,
        "files": {"client_1.parquet": checksum},
    }
    assert sorted(p.name for p in out.iterdir()) == [
        *(f"client_{i}.parquet" for i in range(3)),
        "manifest.json",
    ]


def test_rows_keep_the_order_of_the_data_set(dataset, build):
    out, _ = build(make_iid_config(3), dataset())
    numbers = [
        [TABLE["text"].to_pylist().index(r["text"]) for r in read_rows(out, f)] for f in FILES
    ]
    assert all(part == sorted(part) for part in numbers)
    assert sorted(n for part in numbers for n in part) == list(range(40))
    assert read_rows(out, "client_0.parquet")[0] == TABLE.slice(numbers[0][0], 1).to_pylist()[0]


FILES = [f"client_{i}.parquet" for i in range(3)]


def test_clients_hold_out_validation_and_test_rows(dataset, build):
    out, manifest = build(make_domain_config(validation_size=0.2, test_size=3), dataset())
    assert [(c["rows"], c["validation"], c["test"]) for c in manifest["clients"]] == [
        (5, 2, 3),
        (5, 2, 3),
        (13, 4, 3),
    ]
    web = manifest["clients"][2]
    assert list(web["files"]) == [f"client_2.{end}" for end in SUFFIXES]
    assert all(compute_file_sha256(out / name) == sum_ for name, sum_ in web["files"].items())
    assert web["labels"] == {"yes": 13}
    assert manifest["labels"] == {"yes": 20, "no": 20}
    assert web["tokens"] == 13 * 7
    texts = [
        row["text"]
        for client in range(3)
        for e in SUFFIXES
        for row in read_rows(out, f"client_{client}.{e}")
    ]
    assert Counter(texts) == Counter(TABLE["text"].to_pylist())


SUFFIXES = ["parquet", "test.parquet", "validation.parquet"]


def test_two_builds_have_the_same_bytes_and_no_scratch(dataset, build):
    folder = dataset()
    one, other = (build(make_iid_config(4, validation_size=2), folder)[0] for _ in range(2))
    names = sorted(path.name for path in one.iterdir())
    assert names == sorted(path.name for path in other.iterdir())
    assert all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


def test_nested_columns_are_written_in_row_groups(dataset, build):
    count = ROWS_PER_BATCH * 2 + 50
    turns = [[{"role": "user", "content": f"number {i}!"}] for i in range(count)]
    table = pa.table({"turns": turns, "n": list(range(count))})
    out, manifest = build(make_iid_config(1), dataset(table, None))
    file = parquet.ParquetFile(out / "client_0.parquet")
    assert [file.metadata.row_group(i).num_rows for i in range(3)] == [
        ROWS_PER_BATCH,
        ROWS_PER_BATCH,
        50,
    ]
    assert file.read().to_pylist() == table.to_pylist()
    client = manifest["clients"][0]
    assert client["tokens"] == count * 4
    assert (client["labels"], client["distance"], manifest["labels"]) == (None, None, None)


@pytest.mark.parametrize(
    ("config", "stratify_by", "label"),
    [
        (make_domain_config(label_column="text"), "label", "text"),
        (make_domain_config(), None, "domain"),
        (make_iid_config(2), None, None),
        (make_iid_config(2, partitioner="continuous", column="n", strictness=1), None, None),
    ],
)
def test_label_column_has_defaults(dataset, build, config, stratify_by, label):
    table = TABLE.append_column("n", pa.array(range(40)))
    _, manifest = build(config, dataset(table, stratify_by))
    assert manifest["label_column"] == label
    assert (manifest["labels"] is None) == (label is None)


def test_rows_without_label_are_counted_as_null(dataset, build):
    table = TABLE.set_column(2, "label", pa.array([1, None] * 20))
    _, manifest = build(make_iid_config(2), dataset(table))
    assert manifest["labels"] == {"1": 20, "null": 20}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label_column": "lable"}, "label_column: there is no column 'lable'; did you mean"),
        ({"column": "domian"}, "column: there is no column 'domian'; did you mean 'domain'"),
        ({"test_size": 10}, "min_rows: 1, test_size: 10: too few rows: books has 10, news has 10"),
    ],
)
def test_settings_that_do_not_fit_the_data_are_rejected(dataset, tmp_path, changes, message):
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(UserError, match=message):
        build_partition.build_partition(make_domain_config(**changes), dataset(), out)


def test_data_set_without_training_rows_is_rejected(dataset, tmp_path):
    with pytest.raises(UserError, match="num_partitions: 2 clients cannot share 0 training rows"):
        build_partition.build_partition(make_iid_config(2), dataset(TABLE.slice(0, 0)), tmp_path)


def test_script_prints_the_clients(dataset, tmp_path):
    dataset_folder = dataset()
    write_checksums(dataset_folder, "download")
    command = [
        sys.executable,
        SCRIPT,
        "--config",
        to_canonical_json(make_domain_config()),
        "--dataset",
        dataset_folder,
    ]
    result = subprocess.run(
        [*map(str, command), "--output", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "client 2 (web): 20 rows" in result.stdout
    assert read_json(tmp_path / "out" / "manifest.json")["clients"][2]["rows"] == 20
