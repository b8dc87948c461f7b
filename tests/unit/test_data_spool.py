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


def filled(folder, rows, cuts=()):
    new = DiskTable(folder)
    new.append(pa.RecordBatch.from_pylist([], SCHEMA))
    ends = sorted({0, len(rows), *(cut for cut in cuts if cut < len(rows))})
    for start, end in pairwise(ends):
        new.append(pa.RecordBatch.from_pylist(rows[start:end], SCHEMA))
    return new


def back(batches):
    return [row for batch in batches for row in batch.to_pylist()]


@settings(max_examples=50)
@given(st.lists(ROW, max_size=30), st.lists(st.integers(0, 30)), st.data())
def test_rows_come_back_however_they_were_batched(tmp_path_factory, rows, cuts, data):
    kept = filled(tmp_path_factory.mktemp("s"), rows, cuts)
    assert kept.num_rows == len(rows)
    assert back(kept.iter_batches()) == rows
    assert back(kept.iter_batches(["text"])) == [{"text": row["text"]} for row in rows]
    if rows:
        numbers = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=40))
        assert back(kept.take(np.array(numbers, int))) == [rows[i] for i in numbers]


@pytest.mark.parametrize("held", [1, 100_000, 1 << 30])
def test_gathering_from_many_files_is_taking_from_a_table(tmp_path, monkeypatch, held):
    monkeypatch.setattr(
        disk_table, "_MAX_BYTES_IN_MEMORY", held
    )  # bytes at a time: a group of rows, or several
    rows, made = 5 * ROWS_PER_BATCH // 2, DiskTable(tmp_path)
    for start in range(0, rows, 7001):
        n = np.arange(start, min(start + 7001, rows))
        values = (
            n if start < ROWS_PER_BATCH else n.astype(float)
        )  # a second file, with another type
        made.append(pa.record_batch({"n": values, "text": [f"row {i}" for i in n]}))
    table = pa.Table.from_batches(made.iter_batches())
    assert table["n"].to_pylist() == list(range(rows))
    random = np.random.default_rng(0)
    for wanted in (
        np.arange(rows),
        np.flatnonzero(random.random(rows) < 0.1),
        random.permutation(rows),
        random.integers(0, rows, rows),
    ):
        batches = list(made.take(wanted))
        assert [b.num_rows for b in batches[:-1]] == [ROWS_PER_BATCH] * (len(batches) - 1)
        assert pa.Table.from_batches(batches).equals(table.take(pa.array(wanted)))
    assert len(list(tmp_path.iterdir())) == 2


def test_rows_may_be_appended_after_reading(tmp_path):
    made = DiskTable(tmp_path)
    for n in (1, 2, 3):
        made.append(pa.record_batch({"n": [n]}))
        assert back(made.iter_batches()) == [{"n": i} for i in range(1, n + 1)]


def test_columns_are_known_without_rows(tmp_path):
    made = DiskTable(tmp_path)
    made.append(pa.RecordBatch.from_pylist([], SCHEMA))
    assert (made.num_rows, made.schema) == (0, SCHEMA)
    assert list(made.iter_batches()) == list(made.take(np.arange(0))) == []


def test_nulls_numbers_and_fields_meet(tmp_path):
    made = DiskTable(tmp_path)
    made.append(pa.record_batch({"a": [None], "n": [1], "m": [[{"role": "x"}]]}))
    made.append(pa.record_batch({"a": ["y"], "n": [0.5], "m": [[{"role": "y", "k": 2}]]}))
    made.append(pa.record_batch({"n": [2], "late": [True]}))
    expected = [
        {"a": None, "n": 1.0, "m": [{"role": "x", "k": None}], "late": None},
        {"a": "y", "n": 0.5, "m": [{"role": "y", "k": 2}], "late": None},
        {"a": None, "n": 2.0, "m": None, "late": True},
    ]
    assert back(made.iter_batches()) == expected
    assert back(made.take(np.array([2, 0]))) == [expected[2], expected[0]]
    assert back(made.take(np.array([2, 0, 1]), ["late"])) == [
        {"late": late} for late in (True, None, None)
    ]
    assert made.schema.field("n").type == pa.float64()


def test_categories_become_their_values(tmp_path):
    made = DiskTable(tmp_path)
    for words in (["a", "b"], ["c", "a"]):
        made.append(pa.record_batch({"word": pa.array(words).dictionary_encode()}))
    assert made.schema == pa.schema({"word": pa.string()})
    assert back(made.iter_batches()) == [{"word": word} for word in "abca"]


def test_types_that_do_not_go_together(tmp_path):
    made = DiskTable(tmp_path)
    made.append(pa.record_batch({"m": [[{"role": 1}]], "n": [1]}))
    with pytest.raises(
        UserError,
        match=r"column 'm' has the type list<item: struct<role: int64>> in some rows and "
        r"list<item: struct<role: string>> in others",
    ):
        made.append(pa.record_batch({"n": [2.5], "m": [[{"role": "x"}]]}))


def test_a_whole_number_that_no_fraction_can_be(tmp_path):
    made = DiskTable(tmp_path)
    made.append(pa.record_batch({"n": [0.5]}))
    with pytest.raises(UserError, match="column 'n': Integer value 9007199254740993 not in range"):
        made.append(pa.record_batch({"n": [2**53 + 1]}))
