"""Tests of renaming, deriving, filtering and selecting columns."""

import pyarrow as pa
import pytest

from blossomtune import work_limits
from blossomtune.data.preparation import source_rows, transform
from blossomtune.errors import UserError

EMPTY = {"rename": {}, "derive": {}, "filter": None, "columns": None}


def transform_batches(tmp_path, *file_columns, require_same_columns=True, **config):
    """Return the table, its rows and the mask of the rows that mask."""
    batches = ((name, pa.RecordBatch.from_pydict(columns)) for name, columns in file_columns)
    stored = source_rows.store_source_rows(
        batches, tmp_path / "read", require_same_columns=require_same_columns
    )
    table, mask = transform.transform_rows(stored, EMPTY | config, tmp_path / "transformed")
    return table, [row for b in table.iter_batches() for row in b.to_pylist()], mask.tolist()


def test_derived_columns_use_the_file_name_and_earlier_columns(tmp_path):
    table, rows, _ = transform_batches(
        tmp_path,
        ("tweets.txt", {"text": [" x ", "y"]}),
        ("news.txt", {"text": ["z"]}),
        derive={"from": "{{ file | replace('.txt', '') }}", "both": " {{ from }}-{{ text }} "},
    )
    assert table.schema.names == ["text", "from", "both"]
    assert [row["both"] for row in rows] == ["tweets- x", "tweets-y", "news-z"]
    assert rows[0]["text"] == " x "


def test_derived_column_replaces_a_column_of_the_same_name(tmp_path):
    table, rows, _ = transform_batches(
        tmp_path, ("a", {"n": [1], "k": [2]}), derive={"n": "<{{ n + k }}>"}
    )
    assert (table.schema.names, rows) == (["n", "k"], [{"n": "<3>", "k": 2}])


def test_columns_are_renamed_first(tmp_path):
    _, rows, mask = transform_batches(
        tmp_path,
        ("a", {"x": [1, 2, 3], "y": [4, 5, 6]}),
        rename={"x": "y", "y": "x"},
        derive={"sum": "{{ x }}{{ y }}"},
        filter="sum != '52' and file == 'a'",
        columns=["sum", "x"],
    )
    assert rows == [{"sum": "41", "x": 4}, {"sum": "63", "x": 6}]
    assert mask == [True, False, True]


def test_late_column_is_null_in_earlier_rows(tmp_path):
    _, rows, _ = transform_batches(
        tmp_path,
        ("a", {"n": [1]}),
        ("a", {"n": [0.5], "late": ["x"]}),
        derive={"text": "{{ n }}{{ late or '' }}"},
    )
    assert [row["text"] for row in rows] == ["1.0", "0.5x"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"derive": {"x": "{{ ratin }}"}}, r"row 1 of b: derive\.x: .*did you mean 'rating'\?"),
        ({"filter": "rating > 2 and ratin"}, r"row 1 of b: filter: there is no column 'ratin'"),
        ({"filter": "rating / 0"}, "row 0 of a: filter: ZeroDivisionError"),
        ({"filter": "rating >"}, "filter: not a valid expression"),
        ({"rename": {"txt": "x"}}, "rename: there is no column 'txt'; did you mean 'text'"),
        ({"rename": {"text": "rating"}}, r"rename\.text: there would be two columns 'rating'"),
        ({"rename": {"text": "x", "rating": "x"}}, r"rename\.text: there would be two columns 'x'"),
        ({"columns": ["text", "ratng"]}, "columns: there is no column 'ratng'; did you mean"),
        ({"columns": ["x"], "rename": {"text": "y"}}, "columns: there is no column 'x'"),
    ],
)
def test_invalid_configuration_is_reported(tmp_path, config, message):
    parts = (("a", {"rating": [1], "text": ["x"]}), ("b", {"rating": [2, 3], "text": ["x", "y"]}))
    if "derive" in config:
        config = {"derive": {"x": "{{ rating if rating < 3 else ratin }}"}}
    with pytest.raises(UserError, match=message):
        transform_batches(tmp_path, *parts, **config)


def test_different_columns_are_rejected_unless_allowed(tmp_path):
    parts = (("a", {"x": [1]}), ("a", {"y": [1]}), ("b", {"y": [2], "x": [2]}), ("c", {"x": [3]}))
    with pytest.raises(UserError, match="c has the columns x, but a has x, y"):
        transform_batches(tmp_path / "one", *parts)
    table, rows, _ = transform_batches(tmp_path / "two", *parts, require_same_columns=False)
    assert rows[-1] == {"x": 3, "y": None}
    assert table.num_rows == 4


def test_incompatible_types_name_the_file(tmp_path):
    with pytest.raises(UserError, match=r"^b: column 'x' has the type int64 in some rows and str"):
        transform_batches(tmp_path, ("a", {"x": [1]}), ("b", {"x": ["1"]}))


def test_files_without_rows_are_skipped(tmp_path):
    empty = pa.array([], pa.int64())
    _, rows, _ = transform_batches(
        tmp_path, ("a", {"x": empty}), ("b", {"x": [1]}), ("c", {"x": empty}), ("d", {"x": [2]}),
        derive={"of": "{{ file }}"},
    )  # fmt: skip
    assert [row["of"] for row in rows] == ["b", "d"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (
            {"derive": {"x": "{{ text if n < 5 else text * 4 * 10 ** 9 }}"}},
            r"^b: row 2: derive\.x needs more than 1024 MiB of memory",
        ),
        ({"filter": "n < 5 or '%999999999d' % n"}, "^b: row 2: filter needs more than"),
    ],
)
def test_row_that_needs_too_much_is_named(tmp_path, config, message, monkeypatch):
    monkeypatch.setattr(work_limits, "MEMORY_BYTES", 2**29)
    parts = (("a", {"n": [1], "text": ["x"]}), ("b", {"n": [2, 3, 5], "text": ["x", "y", "z"]}))
    with pytest.raises(UserError, match=message.replace("1024", "512")):
        transform_batches(tmp_path, *parts, **config)
