"""Tests of JSON lists and of one object per line."""

import json

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.data.sources import file_formats, json_reader, json_stream
from blossomtune.data.sources.reading_log import ReadingLog
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
        assert [value for _, value in json_reader._iter_array_elements(path, "utf-8")] == rows


def test_objects_without_fields_become_null(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1, "meta": {}}\n{"a": 2, "meta": {}}\n')
    ((_, batch),) = file_formats.read_files([tmp_path / "a.jsonl"])
    assert batch.to_pylist() == [{"a": 1, "meta": None}, {"a": 2, "meta": None}]
    assert file_formats.write_parquet([batch], batch.schema, tmp_path / "a.parquet") == 2
    deeper = pa.RecordBatch.from_pylist([{"turns": [{"meta": {}}]}])
    with pytest.raises(UserError, match=r"Cannot write struct type 'meta'.*\n  hint: leave that"):
        file_formats.write_parquet([deeper], deeper.schema, tmp_path / "b.parquet")


LINES = b"""{"a": 1}
{"a": 2
[1]
{"a": "\xff"}

{"a": 123456789012345678901234567890}
{"a": 3, "t": "\\ud800"}
{"a": 4, "t": "\\ud83d\\ude00"}
"""


def test_bad_lines_are_skipped_and_counted(read_rows, tmp_path):
    (tmp_path / "a.jsonl").write_bytes(LINES)
    (tmp_path / "b.jsonl").write_bytes(b'{"a": 9}\n{')
    log = ReadingLog()
    rows = read_rows([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], on_bad_line="skip", log=log)
    assert rows == [[{"a": 1, "t": None}, {"a": 4, "t": "\N{GRINNING FACE}"}], [{"a": 9}]]
    assert log.num_skipped == 6
    assert [(r.files, r.first_file, r.encoding, r.skipped) for r in log.readings] == [
        (2, "a.jsonl", "utf-8", 6)
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (1, "a.jsonl cannot be read as jsonl: line 2, column 1: "),
        (2, "a.jsonl: line 2 is not an object but list"),
        (3, "a.jsonl cannot be read as jsonl: line 2: it is not UTF-8"),
        (5, "a.jsonl: line 2: column 'a' has a number beyond 64 bits"),
        (6, "a.jsonl: line 2: column 't' has a lone surrogate"),
    ],
)
def test_bad_line_is_an_error_by_default(read_rows, tmp_path, line, message):
    lines = LINES.splitlines(keepends=True)
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1, "t": "x"}\n' + lines[line] + b'{"a": 5}\n' * 9)
    with pytest.raises(UserError, match=message):
        read_rows([tmp_path / "a.jsonl"])


def test_array_in_jsonl_is_rejected_even_if_bad_lines_are_skipped(read_rows, write_file):
    path = write_file("a.jsonl", '\n[\n{"a": 1},\n{"a": 2}\n]')
    message = r"a.jsonl is a JSON array, not one object per line\n  hint: .*format: {kind: json}"
    for on_bad_line in ("error", "skip"):
        with pytest.raises(UserError, match=message):
            read_rows([path], on_bad_line=on_bad_line)
    assert read_rows([path], "json") == [[{"a": 1}, {"a": 2}]]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_unicode_encodings_of_json_are_detected(read_rows, tmp_path, encoding):
    for name, text in (("a.json", '[{"a": "ü\u2028€"}]'), ("a.jsonl", '{"a": "ü\u2028€"}\n')):
        (tmp_path / name).write_bytes(text.encode(encoding))
        assert read_rows([tmp_path / name]) == [[{"a": "ü\u2028€"}]]


def test_configured_encoding_of_json_is_used(read_rows, tmp_path):
    (tmp_path / "a.jsonl").write_bytes('{"a": "ü"}\n'.encode("cp1252"))
    assert read_rows([tmp_path / "a.jsonl"], encoding="cp1252") == [[{"a": "ü"}]]
