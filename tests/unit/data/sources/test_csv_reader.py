"""Tests of delimiter-separated files."""

import csv

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from blossomtune.config.file_format import FileFormat
from blossomtune.data.sources import csv_reader, file_formats
from blossomtune.data.sources.reading_log import ReadingLog
from blossomtune.errors import UserError


def test_tsv_has_no_quoting(read_rows, write_file):
    path = write_file("a.txt", '1\t0.5\tHe said "no\n2\t-1\t"both"\n')
    (rows,) = read_rows([path], "tsv", ["id", "rating", "text"])
    assert rows == [
        {"id": 1, "rating": 0.5, "text": 'He said "no'},
        {"id": 2, "rating": -1.0, "text": '"both"'},
    ]


def test_csv_has_quoting_and_newlines_in_values(read_rows, write_file):
    path = write_file("a.csv", 'id,text\n1,"one, ""two""\nthree"\n')
    assert read_rows([path]) == [[{"id": 1, "text": 'one, "two"\nthree'}]]


def test_dates_and_truth_values_stay_text(read_rows, write_file):
    path = write_file(
        "a.csv", "when,yes,word\n2024-01-02T10:00,true,null\n2024-01-03T10:00,false,NA\n"
    )
    (rows,) = read_rows([path])
    assert rows[0] == {"when": "2024-01-02T10:00", "yes": "true", "word": "null"}


def test_column_is_numeric_only_if_it_is_in_every_file(read_rows, write_file):
    paths = [write_file("a.csv", "id,n\n007,1\n"), write_file("b.tsv", "id\tn\n1_1\t2.5\n")]
    assert read_rows(paths) == [[{"id": "007", "n": 1}], [{"id": "1_1", "n": 2.5}]]


def test_empty_cell_is_null_in_numeric_columns_only(read_rows, write_file):
    path = write_file("a.csv", "n,m,text,nothing\n1,,,\n,0.5,x,\n 3 ,2,y,\n")
    assert read_rows([path])[0] == [
        {"n": 1, "m": None, "text": "", "nothing": ""},
        {"n": None, "m": 0.5, "text": "x", "nothing": ""},
        {"n": 3, "m": 2, "text": "y", "nothing": ""},
    ]


def test_types_are_inferred_from_the_whole_file(read_rows, write_file):
    path = write_file("a.csv", "n,text\n" + "1,xxxxxxxxxxxxxxxxxxxx\n" * 60_000 + "2.5,x\n")
    rows = read_rows([path])[0]
    assert (len(rows), rows[0]["n"], rows[-1]["n"]) == (60_001, 1, 2.5)


def test_row_longer_than_a_block_is_read(read_rows, write_file):
    long = "x" * (3 * csv_reader._INITIAL_BLOCK_SIZE)
    short = "".join(f"{i},short\n" for i in range(200_000))
    rows = read_rows([write_file("a.csv", f"n,text\n{short}-1,{long}\n{short}")])[0]
    assert [row["n"] for row in rows] == [*range(200_000), -1, *range(200_000)]
    assert rows[200_000]["text"] == long


def test_too_long_row_is_reported(read_rows, write_file, monkeypatch):
    block_size = csv_reader._INITIAL_BLOCK_SIZE
    monkeypatch.setattr(csv_reader, "_MAX_ROW_BYTES", block_size)  # so that 1 MB is too long
    path = write_file("a.csv", "a\nx\n" + "y" * 2 * block_size)
    with pytest.raises(UserError, match=r"a\.csv: row 3 is longer than 1 MB"):
        read_rows([path])


READINGS = {
    "excel-de.csv": ("text;preis\r\nMüller – Spaß;1,5\r\n", "cp1252", ";", '"'),
    "excel-utf8.csv": ('text;preis\r\n"Zeile 1\nZeile 2; ""x""";1,5\r\n', "utf-8-sig", ";", '"'),
    "excel-unicode.csv": ("text\tpreis\r\nŁódź € 😀\t1,5\r\n", "utf-16", "\t", '"'),
    "pipes.csv": ("text|preis\nčaj|1,5\n", "utf-8", "|", '"'),
    "commas.csv": ('text,preis\n"a, b","1,5"\n', "utf-8", ",", '"'),
    "single.csv": ("'text','preis'\n'it''s','1,5'\n", "utf-8", ",", "'"),
}


def test_files_of_different_dialects_are_one_data_set(read_rows, tmp_path):
    for name, (text, encoding, *_) in READINGS.items():
        (tmp_path / name).write_bytes(text.encode(encoding))
    (tmp_path / "header only.csv").write_bytes("text;preis\n".encode("utf-16"))
    log = ReadingLog()
    rows = read_rows(sorted(tmp_path.iterdir()), log=log)
    assert rows == [
        [{"text": "a, b", "preis": "1,5"}],
        [{"text": "Müller – Spaß", "preis": "1,5"}],
        [{"text": "Łódź € 😀", "preis": "1,5"}],
        [{"text": 'Zeile 1\nZeile 2; "x"', "preis": "1,5"}],
        [],
        [{"text": "čaj", "preis": "1,5"}],
        [{"text": "it's", "preis": "1,5"}],
    ]
    readings = {r.first_file: (r.encoding, r.delimiter, r.quotechar) for r in log.readings}
    assert readings == {name: reading[1:] for name, reading in READINGS.items()} | {
        "header only.csv": ("utf-16", ";", '"')
    }
    assert {tuple(r.detected) for r in log.readings} == {("encoding", "quotechar", "delimiter")}


def test_configured_dialect_is_used(read_rows, tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("1:~čaj:x~\n2:~~\n".encode("cp1250"))
    keys = {"delimiter": ":", "quotechar": "~", "encoding": "windows-1250"}
    assert read_rows([path], columns=["n", "text"], **keys) == [
        [{"n": 1, "text": "čaj:x"}, {"n": 2, "text": ""}]
    ]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_separator_line_of_excel_is_no_header(read_rows, tmp_path, encoding):
    path = tmp_path / "a.csv"
    for line in ("sep=;", '"SEP=;"'):
        path.write_bytes(f"{line}\r\ntext;n\r\na, ü;1,5\r\n".encode(encoding))
        assert read_rows([path]) == [[{"text": "a, ü", "n": "1,5"}]]
    path.write_bytes("sep=;\na, ü;1,5\n".encode(encoding))
    assert read_rows([path], columns=["text", "n"]) == [[{"text": "a, ü", "n": "1,5"}]]


def test_row_error_names_the_dialect(read_rows, write_file):
    path = write_file("a.csv", "text;n\na;1\nb;2;3\n")
    with pytest.raises(UserError) as error:
        read_rows([path])
    assert str(error.value) == (
        "a.csv cannot be read as csv: row 3: Expected 2 columns, got 3: b;2;3\n"
        '  hint: it was read with the delimiter semicolon and the quotation mark "; '
        "format.delimiter, format.quotechar and format.columns say otherwise"
    )


def test_keys_apply_where_they_fit(read_rows, write_file):
    paths = [write_file("a.jsonl", '{"a": 1}\n'), write_file("a.csv", "a;b\n1;2\n")]
    assert read_rows(paths, delimiter=";") == [[{"a": 1}], [{"a": 1, "b": 2}]]


def is_no_utf8(content):
    try:
        content.decode()
    except UnicodeDecodeError:
        return True
    return False


# unlike words, some signs are likely to be taken for another dialect's
VALUES = st.text(st.sampled_from("ab19 .,;\t|\"'\n\rüßé€–ł😀\\"), max_size=8)


@settings(max_examples=300)
@given(
    st.integers(1, 3).flatmap(
        lambda width: st.lists(
            st.lists(VALUES, min_size=width, max_size=width), min_size=1, max_size=5
        )
    ),
    st.sampled_from(",;\t|"),
    st.sampled_from("\"'"),
    st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL, csv.QUOTE_NONNUMERIC]),
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "cp1252"]),
    st.sets(st.sampled_from(["delimiter", "quotechar", "encoding", "columns"])),
)
def test_written_table_is_read_equal_or_rejected(
    tmp_path_factory, rows, delimiter, quotechar, quoting, end, encoding, stated
):
    names = ["text", "label", "x"][: len(rows[0])]
    if end == "\n":  # the writer does not quote a carriage return then, and it ends a line
        rows = [[text.replace("\r", "") for text in row] for row in rows]
    if quotechar == "'" and "quotechar" not in stated:  # by RFC 4180, " is a quotation mark
        rows = [[text.replace('"', "") for text in row] for row in rows]
    path = tmp_path_factory.mktemp("c") / "a.csv"
    with path.open("w", encoding=encoding, errors="replace", newline="") as file:
        options = {"delimiter": delimiter, "quotechar": quotechar, "lineterminator": end}
        writer = csv.writer(file, **options, quoting=quoting)
        writer.writerows(rows if "columns" in stated else [names, *rows])
    if encoding == "cp1252" and not path.read_bytes().isascii():
        assume(is_no_utf8(path.read_bytes()))  # few signs can be both, such as the bytes of ß–
    values = {"delimiter": delimiter, "quotechar": quotechar, "encoding": encoding}
    keys = {key: values[key] for key in sorted(stated - {"columns"})}
    if "columns" in stated:
        keys["columns"] = names
    try:
        batches = list(file_formats.read_files([path], FileFormat(kind="csv", **keys)))
    except UserError:
        assert not stated >= set(values)
        return
    read = [list(row.values()) for _, batch in batches for row in batch.to_pylist()]
    expected = [[text.encode(encoding, "replace").decode(encoding) for text in row] for row in rows]
    assert len(read) == len(expected)
    for read_row, row in zip(read, expected, strict=True):
        for value, text in zip(read_row, row, strict=True):
            if isinstance(value, str):
                assert value == text
            else:
                assert value == (float(text) if text.strip() else None)
