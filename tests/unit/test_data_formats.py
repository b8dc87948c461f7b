import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from blossomtune.data import formats
from blossomtune.errors import UserError


@pytest.fixture
def write(tmp_path):
    def one(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return one


def test_tsv_knows_no_quoting(write):
    path = write("a.txt", '1\t0.5\tHe said "no\n2\t-1\t"both"\n')
    (table,) = formats.read([path], "tsv", ["id", "rating", "text"])
    assert table.to_pylist() == [
        {"id": 1, "rating": 0.5, "text": 'He said "no'},
        {"id": 2, "rating": -1.0, "text": '"both"'},
    ]


def test_csv_knows_quoting_and_newlines_in_values(write):
    path = write("a.csv", 'id,text\n1,"one, ""two""\nthree"\n')
    (table,) = formats.read([path], "csv")
    assert table.to_pylist() == [{"id": 1, "text": 'one, "two"\nthree'}]


def test_what_is_no_number_stays_as_written(write):
    path = write("a.csv", "when,yes,word\n2024-01-02T10:00,true,null\n2024-01-03T10:00,false,NA\n")
    (table,) = formats.read([path], "csv")
    assert table.to_pylist()[0] == {"when": "2024-01-02T10:00", "yes": "true", "word": "null"}


def test_a_column_is_a_number_only_if_it_is_in_every_file(write):
    paths = [write("a.csv", "id,n\n007,1\n"), write("b.csv", "id,n\n1_1,2.5\n")]
    tables = formats.read(paths, "csv")
    assert [t["id"].to_pylist() for t in tables] == [["007"], ["1_1"]]
    assert [t["n"].to_pylist() for t in tables] == [[1], [2.5]]


def test_types_are_inferred_from_the_whole_file(write):
    path = write("a.csv", "n,text\n" + "1,xxxxxxxxxxxxxxxxxxxx\n" * 60_000 + "2.5,x\n")
    (table,) = formats.read([path], "csv")
    assert table["n"][-1].as_py() == 2.5


OBJECTS = [{"a": {"b": "x"}, "n": 1}, {"a": {"b": "y"}, "extra": "z"}]


def test_json_and_jsonl_keep_nesting_and_columns_that_come_late(write, tmp_path):
    lines = "\n".join(map(json.dumps, OBJECTS))
    for name, kind, text in (("a.json", "json", json.dumps(OBJECTS)), ("a.jsonl", "jsonl", lines)):
        (table,) = formats.read([write(name, text)], kind)
        assert table["a"].to_pylist() == [{"b": "x"}, {"b": "y"}]
        assert table["n"].to_pylist() == [1, None]
        assert table["extra"].to_pylist() == [None, "z"]


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_parquet_gives_back_what_was_written(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("p") / "a.parquet"
    formats.write_parquet(pa.table({"text": texts}), path)
    assert formats.read([path], "parquet")[0]["text"].to_pylist() == texts


def test_parquet_bytes_do_not_depend_on_metadata(tmp_path):
    table = pa.table({"a": [1, 2]})
    formats.write_parquet(table, tmp_path / "a")
    formats.write_parquet(table.replace_schema_metadata({"pandas": "3.1"}), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert not parquet.read_schema(tmp_path / "b").metadata


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("csv", "a,b\n1\n", "x cannot be read as csv: .*Expected 2 columns, got 1"),
        ("csv", "", "x cannot be read as csv: Empty CSV file"),
        ("csv", "a,a\n1,2\n", "x has more than one column 'a'"),
        ("json", '{"a": 1}', "x is not a list of objects"),
        ("json", "[", "x cannot be read as json"),
        ("jsonl", '{"a": 1}\n{"a"', "x cannot be read as jsonl: object 1: "),
        ("jsonl", "3\n", "x: row 0 is not an object but int"),
        ("jsonl", '{"a": 1}\n{"a": "x"}\n', "x: a column has values of different types"),
        ("parquet", "PAR", "x cannot be read as parquet"),
    ],
)
def test_a_file_of_another_kind(write, kind, text, message):
    with pytest.raises(UserError, match=message):
        formats.read([write("x", text)], kind)


def test_text_that_is_not_utf8(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes("text\ncaf\u00e9\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"a.csv cannot be read as csv(.|\n)*UTF-8"):
        formats.read([path], "csv")
