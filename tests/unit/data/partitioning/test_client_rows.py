"""Tests of clients with rows at their own paths."""

import json

import pyarrow as pa
import pytest
from artifact_samples import dataset_manifest
from pyarrow import parquet
from xlsx_files import write_xlsx

from blossomtune.artifacts.files import write_artifact
from blossomtune.data.partitioning import build_partition
from blossomtune.errors import UserError

READING = {
    "format": None,
    "class_labels": "names",
    "rename": {"question": "prompt"},
    "derive": {"label": "{{ 'long' if prompt | length > 5 else 'short' }}"},
    "filter": "prompt != ''",
    "columns": None,
    "deduplicate_by": ["prompt"],
    "deduplicate_as": "exact",
}


@pytest.fixture
def dataset(tmp_path):
    """Write a data set without training rows."""
    folder = tmp_path / "dataset"
    folder.mkdir()
    manifest = dataset_manifest(stratify_by="label", columns=["label", "prompt"])
    write_artifact(folder / "manifest.json", manifest)
    parquet.write_table(pa.table({"prompt": [], "label": []}), folder / "train.parquet")
    return folder


@pytest.fixture
def build(dataset, tmp_path):
    """Return a function that builds a partition of rows per client."""

    def run(clients, name="out", **changes):
        paths, out = {}, tmp_path / name
        out.mkdir()
        for name, rows in clients.items():
            paths[name] = str(tmp_path / f"{name}.jsonl")
            (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        config = {"partitioner": "local", "paths": paths, "num_partitions": len(paths)}
        config |= {"label_column": None, "min_rows": 1, "validation_size": 0, "test_size": 0}
        config |= {"seed": 1, "reading": READING, **changes}
        return out, build_partition.build_partition(config, dataset, out).model_dump()

    return run


def make_rows(*questions):
    return [{"question": text} for text in questions]


def test_rows_of_each_client_are_prepared_like_the_data_set(build):
    clients = {"anna": make_rows("hi", "", "hi", "how are you"), "ben": make_rows("hi", "yes")}
    out, manifest = build(clients)
    assert parquet.read_table(out / "client_0.parquet").to_pylist() == [
        {"label": "short", "prompt": "hi"},
        {"label": "long", "prompt": "how are you"},
    ]
    entries = [(c["client"], c["name"], c["rows"], c["labels"]) for c in manifest["clients"]]
    assert entries == [(0, "anna", 2, {"short": 1, "long": 1}), (1, "ben", 2, {"short": 2})]
    assert manifest["labels"] == {"short": 3, "long": 1}
    assert [c["tokens"] for c in manifest["clients"]] == [2 + 1 + 3, 2 + 2]
    assert manifest["clients"][0]["distance"] > 0
    assert (manifest["column"], manifest["label_column"]) == (None, "label")
    assert sorted(p.name for p in out.iterdir()) == [
        "client_0.parquet",
        "client_1.parquet",
        "manifest.json",
    ]


def test_clients_hold_out_rows(build):
    clients = {name: make_rows(*(f"{name} {i}" for i in range(10))) for name in ("anna", "ben")}
    _, manifest = build(clients, validation_size=0.2, test_size=1)
    counts = [(c["rows"], c["validation"], c["test"]) for c in manifest["clients"]]
    assert counts == [(7, 2, 1)] * 2


def test_files_of_clients_are_read_in_their_own_ways(build, tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_bytes("question;n\nhör;1,5\n".encode("cp1252"))
    (tmp_path / "b.csv").write_bytes("question\tn\nhé\tx\n".encode("utf-16"))
    write_xlsx(tmp_path / "c.xlsx", {"Data": [["question", "n"], ["ha", 1]]})
    (tmp_path / "d.jsonl").write_text('{"question": "hm", "n": 1}\n{\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    paths = {"lines": "~/d.jsonl", "sheets": str(tmp_path / "*.xlsx"), "tables": "~/?.csv"}
    reading = READING | {"format": {"on_bad_line": "skip"}, "columns": ["label", "prompt"]}
    out, manifest = build({}, paths=paths, reading=reading)
    files = [f"client_{i}.parquet" for i in range(3)]
    texts = [parquet.read_table(out / file)["prompt"].to_pylist() for file in files]
    assert texts == [["hm"], ["ha"], ["hör", "hé"]]
    readings = [
        [(r["first_file"], r["encoding"], r["skipped"]) for r in client["readings"]]
        for client in manifest["clients"]
    ]
    assert readings == [
        [("d.jsonl", "utf-8", 1)],
        [("c.xlsx", None, 0)],
        [("a.csv", "cp1252", 0), ("b.csv", "utf-16", 0)],
    ]
    assert str(tmp_path) not in (out / "manifest.json").read_text()


def test_client_with_other_columns_is_rejected(build):
    with pytest.raises(UserError) as error:
        build({"anna": make_rows("hi"), "ben": [{"question": "hi", "user": 7}]})
    assert str(error.value) == (
        "paths.ben has the columns prompt, user, label, but the data set has label, prompt\n"
        "  hint: all clients need the columns of the data set, whose test rows are for all"
    )


def test_client_with_numbers_where_the_data_set_has_class_names_is_rejected(build, dataset):
    labels = {"column": "kind", "field": "", "names": ["bad", "good"], "used": "names"}
    manifest = dataset_manifest(columns=["label", "prompt", "kind"], class_labels=[labels])
    write_artifact(dataset / "manifest.json", manifest)
    with pytest.raises(UserError) as error:
        build({"anna": [{"question": "hi", "kind": 1}]})
    assert str(error.value) == (
        "paths.anna: column 'kind' has values of type int64, but the data set has class names: "
        "bad, good\n  hint: write the names into the file, or use class_labels: numbers for the "
        "data set"
    )
    build({"anna": [{"question": "hi", "kind": "good"}]}, name="second")


def test_client_with_too_few_rows_is_rejected(build):
    with pytest.raises(UserError, match="min_rows: 2: too few rows: ben has 1"):
        build({"anna": make_rows("a", "b"), "ben": make_rows("a", "a")}, min_rows=2)


def test_missing_path_is_rejected(build, tmp_path):
    with pytest.raises(UserError, match=r"paths.anna: .*nowhere.jsonl"):
        build({}, paths={"anna": str(tmp_path / "nowhere.jsonl")})
