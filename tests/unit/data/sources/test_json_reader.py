"""Tests of JSON lists and of one object per line."""

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.data.sources import file_formats, json_reader, json_stream
from blossomtune.errors import UserError

OBJECTS = [{"a": {"b": "x"}, "n": 1}, {"a": {"b": "y"}, "extra": "z"}]


def test_nested_values_and_late_columns_are_read(read_rows, write_file):
    lines = "\n\n".join(map(json.dumps, OBJECTS))
    for name, text in (("a.json", json.dumps(OBJECTS)), ("a.jsonl", lines), ("b.ndjson", lines)):
        assert read_rows([write_file(name, "\ufeff" + text)]) == [
            [{"a": {"b": "x"}, "n": 1, "extra": None}, {"a": {"b": "y"}, "n": None, "extra": "z"}]
        ]


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


VALUES = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | TEXTS,
    lambda some: st.lists(some, max_size=3) | st.dictionaries(TEXTS, some, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(
    st.lists(st.dictionaries(st.text("abc", min_size=1), VALUES, min_size=1), max_size=6),
    st.sampled_from([None, 2]),
    st.integers(1, 40),
)
def test_list_is_read_in_chunks_of_any_size(tmp_path_factory, rows, indent, chunk):
    path = tmp_path_factory.mktemp("j") / "a.json"
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "CHUNK_SIZE", chunk)  # so small that every value is cut
        assert [value for _, value in json_reader._iter_array_elements(path)] == rows


def test_objects_without_fields_become_null(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1, "meta": {}}\n{"a": 2, "meta": {}}\n')
    ((_, batch),) = file_formats.read_files([tmp_path / "a.jsonl"], "jsonl")
    assert batch.to_pylist() == [{"a": 1, "meta": None}, {"a": 2, "meta": None}]
    assert file_formats.write_parquet([batch], batch.schema, tmp_path / "a.parquet") == 2
    deeper = pa.RecordBatch.from_pylist([{"turns": [{"meta": {}}]}])
    with pytest.raises(UserError, match=r"Cannot write struct type 'meta'.*\n  hint: leave that"):
        file_formats.write_parquet([deeper], deeper.schema, tmp_path / "b.parquet")
