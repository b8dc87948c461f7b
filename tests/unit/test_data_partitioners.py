from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.data import partitioners
from blossomtune.errors import UserError
from blossomtune.files import read_json, sha256, write_json

TABLE = pa.table(
    {
        "text": [f"row {i}" for i in range(10)],
        "domain": ["web", "news", "web", "books", "news", "web", "web", "books", "web", "news"],
        "label": ["yes", "no"] * 5,
    }
)


def iid(clients, seed=1):
    return {"partitioner": "iid", "num_partitions": clients, "label_column": None, "seed": seed}


def by_domain(clients=3, **changes):
    return {**iid(clients), "partitioner": "natural_id", "column": "domain", **changes}


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 60), clients=st.integers(1, 12), seed=st.integers(0, 5))
def test_iid_deals_every_row_once_and_evenly(rows, clients, seed):
    table = pa.table({"n": list(range(rows))})
    if clients > rows:
        with pytest.raises(UserError, match=f"{clients} clients cannot share {rows} training rows"):
            partitioners.cut(table, iid(clients, seed))
        return
    parts = [part for _, part in partitioners.cut(table, iid(clients, seed))]
    assert sorted(i for part in parts for i in part) == list(range(rows))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1
    assert parts == [part for _, part in partitioners.cut(table, iid(clients, seed))]


def test_iid_shuffles_by_the_seed():
    one, other = (partitioners.cut(TABLE, iid(2, seed)) for seed in (1, 2))
    assert one != other
    assert one[0][1] != list(range(5))


def test_natural_ids_are_clients_in_sorted_order():
    clients = partitioners.cut(TABLE, by_domain())
    assert [name for name, _ in clients] == ["books", "news", "web"]
    assert [rows for _, rows in clients] == [[3, 7], [1, 4, 9], [0, 2, 5, 6, 8]]


def test_natural_ids_that_are_numbers():
    table = pa.table({"user": [10, 9, 10, 2]})
    clients = partitioners.cut(table, by_domain(column="user"))
    assert clients == [("2", [3]), ("9", [1]), ("10", [0, 2])]


def test_another_number_of_natural_ids():
    with pytest.raises(UserError) as error:
        partitioners.cut(TABLE, by_domain(4))
    assert str(error.value) == (
        "num_partitions: 4, but column 'domain' has 3 values: books, news, web\n"
        "  hint: set num_partitions: 3, or choose another column"
    )


def test_a_natural_id_column_that_is_not_there():
    with pytest.raises(
        UserError, match=r"column: there is no column 'domian'; did you mean 'domain'"
    ):
        partitioners.cut(TABLE, by_domain(column="domian"))


def test_rows_without_a_natural_id():
    table = pa.table({"domain": ["a", None, "b"]})
    with pytest.raises(UserError, match="column: 1 training rows have no 'domain'"):
        partitioners.cut(table, by_domain(2))


def test_an_empty_partition(monkeypatch):
    # neither of today's partitioners can leave a client empty; others can
    monkeypatch.setitem(partitioners.CUTS, "iid", lambda *_: [("a", [0]), ("b", [])])
    with pytest.raises(UserError, match="partitioner iid: no rows for b\n  hint: use fewer"):
        partitioners.cut(TABLE, iid(2))


@pytest.fixture
def dataset(tmp_path):
    folder = tmp_path / "dataset"
    folder.mkdir()
    partitioners.write_parquet(TABLE, folder / "train.parquet")
    manifest = {"source": {"kind": "path"}, "revision": "7", "licence": "MIT"}
    write_json(folder / "manifest.json", {**manifest, "stratify_by": "label"})
    return folder


def test_the_manifest_counts_rows_and_labels(dataset, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    partitioners.build(by_domain(), dataset, out)
    manifest = read_json(out / "manifest.json")
    assert manifest["label_column"] == "label"  # the test split's, as none is given
    assert manifest["dataset"] == {"source": {"kind": "path"}, "revision": "7", "licence": "MIT"}
    assert [client["rows"] for client in manifest["clients"]] == [2, 3, 5]
    assert manifest["clients"][2] == {
        "client": 2,
        "name": "web",
        "rows": 5,
        "labels": {"yes": 4, "no": 1},
        "sha256": sha256(out / "client_2.parquet"),
    }
    rows = [
        row
        for i in range(3)
        for row in partitioners.parquet.read_table(out / f"client_{i}.parquet").to_pylist()
    ]
    assert Counter(r["text"] for r in rows) == Counter(TABLE["text"].to_pylist())


def test_a_label_column_that_is_not_there(dataset, tmp_path):
    with pytest.raises(UserError, match=r"label_column: there is no column 'lable'; did you mean"):
        partitioners.build(by_domain(label_column="lable"), dataset, tmp_path)
