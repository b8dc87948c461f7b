"""Tests of Excel workbooks."""

import datetime
import gzip

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from xlsx_files import CellError, write_xlsx

from blossomtune.data.sources import file_formats
from blossomtune.data.sources.reading_log import ReadingLog
from blossomtune.errors import UserError

DAY, TIME = datetime.date(2024, 1, 5), datetime.datetime(2024, 1, 5, 10, 30, 15)


def read_table(path):
    batches = [batch for _, batch in file_formats.read_files([path])]
    return pa.Table.from_batches(batches)


def test_types_of_cells_are_kept(tmp_path):
    path = tmp_path / "a.xlsx"
    header = ["text", "id", "share", "yes", "day", "time", "empty"]
    first = [" ü\n“x” ", 3, 2.5, True, DAY, TIME, None]
    second = ["007", -(2**53), 1e300, False, DAY, datetime.datetime(2024, 1, 6), None]
    write_xlsx(path, {"Data": [header, first, [None] * 7, second, ["x"] + [None] * 6]})
    table = read_table(path)
    assert table.to_pylist() == [
        dict(zip(header, row, strict=True)) for row in (first, second, ["x"] + [None] * 6)
    ]
    assert [str(field.type) for field in table.schema] == [
        *("string", "int64", "double", "bool", "date32[day]", "timestamp[us]", "null")
    ]


def test_column_of_several_kinds_is_text_as_the_sheet_shows_it(tmp_path):
    path = tmp_path / "a.xlsx"
    values = ["n/a", 3, 2.5, True, DAY, TIME, CellError("#REF!")]
    write_xlsx(path, {"Data": [["x", "n"], *([value, 1] for value in values)]})
    assert read_table(path)["x"].to_pylist() == [
        *("n/a", "3", "2.5", "TRUE", "2024-01-05", "2024-01-05 10:30:15", None)
    ]


def test_table_may_begin_anywhere(read_rows, tmp_path):
    path = tmp_path / "a.xlsx"
    rows = [[None, None, "a", "b", None], [None, None, 1, "x", None]]
    write_xlsx(path, {"Data": [[], [], *rows]})
    assert read_rows([path]) == [[{"a": 1, "b": "x"}]]
    (tmp_path / "a.xlsx.gz").write_bytes(gzip.compress(path.read_bytes()))
    assert read_rows([tmp_path / "a.xlsx.gz"]) == [[{"a": 1, "b": "x"}]]


def test_sheet_without_rows_keeps_its_columns(tmp_path):
    write_xlsx(tmp_path / "a.xlsx", {"Data": [["a", "b"]]})
    table = read_table(tmp_path / "a.xlsx")
    assert (table.num_rows, table.column_names) == (0, ["a", "b"])


def test_sheet_is_chosen_by_name(read_rows, tmp_path):
    path = tmp_path / "a.xlsx"
    write_xlsx(path, {"Texts": [["a"], [1]], "Notes & more": [["b"], [2]]})
    log = ReadingLog()
    assert read_rows([path], sheet="Notes & more", log=log) == [[{"b": 2}]]
    assert [(r.sheet, r.detected) for r in log.readings] == [("Notes & more", [])]
    message = "^format.sheet: a.xlsx has more than one sheet; sheets: Texts, Notes & more$"
    with pytest.raises(UserError, match=message):
        read_rows([path])
    with pytest.raises(UserError, match="has no sheet 'Text'; did you mean 'Texts'"):
        read_rows([path], sheet="Text")


def test_only_sheet_is_recorded(read_rows, tmp_path):
    write_xlsx(tmp_path / "a.xlsx", {"Data": [["a"], [1]]})
    log = ReadingLog()
    read_rows([tmp_path / "a.xlsx"], log=log)
    assert [(r.sheet, r.detected) for r in log.readings] == [("Data", ["sheet"])]


def test_columns_of_a_sheet_without_header_are_configured(read_rows, tmp_path):
    path = tmp_path / "a.xlsx"
    write_xlsx(path, {"Data": [["x", 1], ["y", 2]]})
    with pytest.raises(UserError, match=r"'Data': row 1 is no header, for it has the value 1\n"):
        read_rows([path])
    assert read_rows([path], columns=["a", "n"]) == [[{"a": "x", "n": 1}, {"a": "y", "n": 2}]]
    with pytest.raises(UserError, match="row 1 has the value '1' in a column without a name"):
        read_rows([path], columns=["a"])


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["a", None], ["x", "y"]], "a.xlsx, sheet 'Data': row 2 has the value 'y' in a column"),
        ([["a", "a"], ["x", "y"]], "a.xlsx has more than one column 'a'"),
        ([], "a.xlsx, sheet 'Data' is empty"),
    ],
)
def test_sheet_without_names_is_rejected(read_rows, tmp_path, rows, message):
    write_xlsx(tmp_path / "a.xlsx", {"Data": rows})
    with pytest.raises(UserError, match=message):
        read_rows([tmp_path / "a.xlsx"])


def test_other_files_are_rejected(read_rows, tmp_path):
    for content in (b"", b"a,b\n1,2\n", b"PK\x03\x04"):
        (tmp_path / "a.xlsx").write_bytes(content)
        with pytest.raises(UserError, match=r"a\.xlsx cannot be read as xlsx"):
            read_rows([tmp_path / "a.xlsx"])


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\ufffe\uffff\r"))
NUMBERS = st.integers(-(2**53), 2**53)
CELLS = st.one_of(
    st.lists(st.none() | TEXTS.filter(bool)),
    st.lists(st.none() | NUMBERS),
    st.lists(st.none() | st.booleans()),
    st.lists(st.none() | st.dates(datetime.date(1900, 3, 1), datetime.date(9999, 12, 31))),
)


@given(st.lists(CELLS, min_size=1, max_size=4))
def test_written_sheet_is_read_equal(tmp_path_factory, columns):
    path = tmp_path_factory.mktemp("x") / "a.xlsx"
    height = max(map(len, columns))
    columns = [column + [None] * (height - len(column)) for column in columns]
    rows = [list(row) for row in zip(*columns, strict=True)]
    names = [f"c{i}" for i in range(len(columns))]
    write_xlsx(path, {"Data": [names, *rows]})
    expected = [row for row in rows if any(value is not None for value in row)]
    read = [list(row.values()) for row in read_table(path).to_pylist()]
    assert read == expected
    assert [list(map(type, row)) for row in read] == [list(map(type, row)) for row in expected]
