"""Tests of tables on disk."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.data.preparation import disk_table
from blossomtune.data.preparation.disk_table import ROWS_PER_BATCH, DiskTable
from blossomtune.errors import UserError

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
ROW = st.fixed_dictionaries(
    {
        "n": st.none() | st.integers(-5, 5),
        "text": st.none() | TEXT,
        "messages": st.none()
        | st.lists(st.fixed_dictionaries({"role": TEXT, "tags": st.lists(TEXT)}), max_size=3),
    }
)
SCHEMA = pa.schema(
    {
        "n": pa.int64(),
        "text": pa.string(),
        "messages": pa.list_(pa.struct({"role": pa.string(), "tags": pa.list_(pa.string())})),
    }
)


def fill_table(folder, rows, batch_ends=()):
    """Return a table of rows, appended in batches that end at these indices."""
    new = DiskTable(folder)
    new.append(pa.RecordBatch.from_pylist([], SCHEMA))
    ends = sorted({0, len(rows), *(end for end in batch_ends if end < len(rows))})
    for start, end in pairwise(ends):
        new.append(pa.RecordBatch.from_pylist(rows[start:end], SCHEMA))
    return new


def read_rows(batches):
    return [row for batch in batches for row in batch.to_pylist()]


@settings(max_examples=50)
@given(st.lists(ROW, max_size=30), st.lists(st.integers(0, 30)), st.data())
def test_rows_are_read_in_order_and_by_index(tmp_path_factory, rows, batch_ends, data):
    table = fill_table(tmp_path_factory.mktemp("s"), rows, batch_ends)
    assert table.num_rows == len(rows)
    assert read_rows(table.iter_batches()) == rows
    assert read_rows(table.iter_batches(["text"])) == [{"text": row["text"]} for row in rows]
    if rows:
        numbers = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=40))
        assert read_rows(table.take(np.array(numbers, int))) == [rows[i] for i in numbers]


@pytest.mark.parametrize("max_bytes", [1, 100_000, 1 << 30])  # one group of rows or several
def test_take_equals_arrow_take(tmp_path, monkeypatch, max_bytes):
    # another limit, so that small tables are read in one group or several
    monkeypatch.setattr(disk_table, "_MAX_BYTES_IN_MEMORY", max_bytes)
    rows, disk = 5 * ROWS_PER_BATCH // 2, DiskTable(tmp_path)
    for start in range(0, rows, 7001):
        n = np.arange(start, min(start + 7001, rows))
        # the second type starts a second file
        values = n if start < ROWS_PER_BATCH else n.astype(float)
        disk.append(pa.record_batch({"n": values, "text": [f"row {i}" for i in n]}))
    table = pa.Table.from_batches(disk.iter_batches())
    assert table["n"].to_pylist() == list(range(rows))
    random = np.random.default_rng(0)
    for indices in (
        np.arange(rows),
        np.flatnonzero(random.random(rows) < 0.1),
        random.permutation(rows),
        random.integers(0, rows, rows),
    ):
        batches = list(disk.take(indices))
        assert [b.num_rows for b in batches[:-1]] == [ROWS_PER_BATCH] * (len(batches) - 1)
        assert pa.Table.from_batches(batches).equals(table.take(pa.array(indices)))
    assert len(list(tmp_path.iterdir())) == 2


def test_rows_are_appended_after_reading(tmp_path):
    disk = DiskTable(tmp_path)
    for n in (1, 2, 3):
        disk.append(pa.record_batch({"n": [n]}))
        assert read_rows(disk.iter_batches()) == [{"n": i} for i in range(1, n + 1)]


def test_schema_is_known_without_rows(tmp_path):
    disk = DiskTable(tmp_path)
    disk.append(pa.RecordBatch.from_pylist([], SCHEMA))
    assert (disk.num_rows, disk.schema) == (0, SCHEMA)
    assert list(disk.iter_batches()) == list(disk.take(np.arange(0))) == []


def test_types_and_fields_are_unified(tmp_path):
    disk = DiskTable(tmp_path)
    disk.append(pa.record_batch({"a": [None], "n": [1], "m": [[{"role": "x"}]]}))
    disk.append(pa.record_batch({"a": ["y"], "n": [0.5], "m": [[{"role": "y", "k": 2}]]}))
    disk.append(pa.record_batch({"n": [2], "late": [True]}))
    expected = [
        {"a": None, "n": 1.0, "m": [{"role": "x", "k": None}], "late": None},
        {"a": "y", "n": 0.5, "m": [{"role": "y", "k": 2}], "late": None},
        {"a": None, "n": 2.0, "m": None, "late": True},
    ]
    assert read_rows(disk.iter_batches()) == expected
    assert read_rows(disk.take(np.array([2, 0]))) == [expected[2], expected[0]]
    assert read_rows(disk.take(np.array([2, 0, 1]), ["late"])) == [
        {"late": late} for late in (True, None, None)
    ]
    assert disk.schema.field("n").type == pa.float64()


def test_dictionary_columns_become_text(tmp_path):
    disk = DiskTable(tmp_path)
    for words in (["a", "b"], ["c", "a"]):
        disk.append(pa.record_batch({"word": pa.array(words).dictionary_encode()}))
    assert disk.schema == pa.schema({"word": pa.string()})
    assert read_rows(disk.iter_batches()) == [{"word": word} for word in "abca"]


def test_incompatible_types_are_rejected(tmp_path):
    disk = DiskTable(tmp_path)
    disk.append(pa.record_batch({"m": [[{"role": 1}]], "n": [1]}))
    with pytest.raises(
        UserError,
        match=r"column 'm' has the type list<item: struct<role: int64>> in some rows and "
        r"list<item: struct<role: string>> in others",
    ):
        disk.append(pa.record_batch({"n": [2.5], "m": [[{"role": "x"}]]}))


def test_integer_too_large_for_float_is_rejected(tmp_path):
    disk = DiskTable(tmp_path)
    disk.append(pa.record_batch({"n": [0.5]}))
    with pytest.raises(UserError, match="column 'n': Integer value 9007199254740993 not in range"):
        disk.append(pa.record_batch({"n": [2**53 + 1]}))
