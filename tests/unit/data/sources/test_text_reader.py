"""Tests of plain text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blossomtune.config.file_format import FileFormat
from blossomtune.data.sources import file_formats, text_reader
from blossomtune.data.sources.reading_log import ReadingLog
from blossomtune.errors import UserError

TEXT = "\r\n\n  # Title\n\nOne line,\r\nanother. \n \n\t\nLast"


def test_file_is_one_row_without_blank_lines_around(read_rows, write_file):
    paths = [write_file("a.txt", TEXT), write_file("b.md", "x\n")]
    assert read_rows(paths) == [
        [{"text": "  # Title\n\nOne line,\nanother. \n \n\t\nLast"}],
        [{"text": "x"}],
    ]


def test_paragraph_is_one_row(read_rows, write_file):
    path = write_file("a.txt", TEXT)
    assert [row["text"] for row in read_rows([path], rows="paragraph")[0]] == [
        "  # Title",
        "One line,\nanother. ",
        "Last",
    ]


def test_empty_texts_are_skipped_and_counted(read_rows, write_file):
    texts = ["", "a", "\n \n", "b\n\nc"]
    paths = [write_file(f"{i}.txt", text) for i, text in enumerate(texts)]
    for rows, expected in (("file", ["a", "b\n\nc"]), ("paragraph", ["a", "b", "c"])):
        log = ReadingLog()
        read = read_rows(paths, rows=rows, log=log)
        assert [row["text"] for part in read for row in part] == expected
        assert [(r.files, r.format, r.skipped) for r in log.readings] == [(4, "text", 2)]


def test_encoding_of_a_text_is_detected(read_rows, tmp_path):
    for encoding in ("utf-8-sig", "utf-16", "cp1252"):
        (tmp_path / "a.txt").write_bytes("Spaß\r\nüber".encode(encoding))
        assert read_rows([tmp_path / "a.txt"]) == [[{"text": "Spaß\nüber"}]]


def test_table_named_as_text_is_rejected(read_rows, write_file):
    path = write_file("a.txt", "id\ttext\n1\thello\n\n")
    with pytest.raises(UserError, match=r"a.txt is plain text by its name, but its lines are tab"):
        read_rows([path])
    assert read_rows([path], "text") == [[{"text": "id\ttext\n1\thello"}]]
    assert read_rows([path], "tsv") == [[{"id": 1, "text": "hello"}]]


def test_too_long_row_is_rejected(read_rows, write_file, monkeypatch):
    monkeypatch.setattr(text_reader, "_MAX_LENGTH", 20)
    path = write_file("a.txt", "short\n\n" * 9)
    with pytest.raises(UserError, match=r"a.txt: a row is longer(.|\n)*rows: paragraph"):
        read_rows([path])
    assert len(read_rows([path], rows="paragraph")[0]) == 9


@given(st.text(st.sampled_from("ab \n\t\u2028\x0c"), max_size=60))
def test_no_character_but_blank_lines_is_lost(tmp_path_factory, text):
    path = tmp_path_factory.mktemp("t") / "a.txt"
    path.write_bytes(text.encode())

    def read(rows):
        batches = file_formats.read_files([path], FileFormat(kind="text", rows=rows))
        return [row["text"] for _, batch in batches for row in batch.to_pylist()]

    lines = [line for line in text.split("\n") if line.strip()]
    for rows in ("file", "paragraph"):
        read_lines = [line for row in read(rows) for line in row.split("\n") if line.strip()]
        assert read_lines == lines
    assert len(read("file")) == bool(lines)
