"""Tests of comma- and tab-separated files."""

import pytest

from blossomtune.data.sources import csv_reader
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


def test_unclosed_quotation_mark_is_reported(read_rows, write_file, monkeypatch):
    block_size = csv_reader._INITIAL_BLOCK_SIZE
    monkeypatch.setattr(csv_reader, "_MAX_ROW_BYTES", block_size)  # so that 1 MB is too long
    path = write_file("a.csv", 'a\nx\n"' + "y\n" * block_size)
    with pytest.raises(UserError, match=r"a\.csv: row 3 is longer than 1 MB(.|\n)*does not end"):
        read_rows([path])
