import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc, parquet

from blossomtune.data.sources import csv_reader, file_formats, json_reader, json_stream
from blossomtune.errors import UserError

ROOT = Path(__file__).parents[2]
CODE = os.pathsep.join([str(ROOT / "workflow_scripts"), str(ROOT / "tests")])


@pytest.fixture
def write(tmp_path):
    def one(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return one


def tables(paths, kind=None, columns=None):
    """The rows of each file, and that no batch is larger than it may be."""
    found = {}
    for path, batch in file_formats.read_files(paths, kind, columns):
        assert batch.num_rows <= file_formats.ROWS_PER_BATCH
        assert batch.schema.metadata is None
        found.setdefault(path, []).extend(batch.to_pylist())
    return [found.get(path, []) for path in paths]


def test_tsv_knows_no_quoting(write):
    path = write("a.txt", '1\t0.5\tHe said "no\n2\t-1\t"both"\n')
    (rows,) = tables([path], "tsv", ["id", "rating", "text"])
    assert rows == [
        {"id": 1, "rating": 0.5, "text": 'He said "no'},
        {"id": 2, "rating": -1.0, "text": '"both"'},
    ]


def test_csv_knows_quoting_and_newlines_in_values(write):
    path = write("a.csv", 'id,text\n1,"one, ""two""\nthree"\n')
    assert tables([path]) == [[{"id": 1, "text": 'one, "two"\nthree'}]]


def test_what_is_no_number_stays_as_written(write):
    path = write("a.csv", "when,yes,word\n2024-01-02T10:00,true,null\n2024-01-03T10:00,false,NA\n")
    (rows,) = tables([path])
    assert rows[0] == {"when": "2024-01-02T10:00", "yes": "true", "word": "null"}


def test_a_column_is_a_number_only_if_it_is_in_every_file(write):
    paths = [write("a.csv", "id,n\n007,1\n"), write("b.tsv", "id\tn\n1_1\t2.5\n")]
    assert tables(paths) == [[{"id": "007", "n": 1}], [{"id": "1_1", "n": 2.5}]]


def test_what_is_missing_in_a_column_of_numbers_is_null(write):
    path = write("a.csv", "n,m,text,nothing\n1,,,\n,0.5,x,\n 3 ,2,y,\n")
    assert tables([path])[0] == [
        {"n": 1, "m": None, "text": "", "nothing": ""},
        {"n": None, "m": 0.5, "text": "x", "nothing": ""},
        {"n": 3, "m": 2, "text": "y", "nothing": ""},
    ]


def test_types_are_those_of_the_whole_file(write):
    path = write("a.csv", "n,text\n" + "1,xxxxxxxxxxxxxxxxxxxx\n" * 60_000 + "2.5,x\n")
    rows = tables([path])[0]
    assert (len(rows), rows[0]["n"], rows[-1]["n"]) == (60_001, 1, 2.5)


def test_a_row_that_is_longer_than_a_block(write):
    long = "x" * (3 * csv_reader._INITIAL_BLOCK_SIZE)
    short = "".join(f"{i},short\n" for i in range(200_000))
    rows = tables([write("a.csv", f"n,text\n{short}-1,{long}\n{short}")])[0]
    assert [row["n"] for row in rows] == [*range(200_000), -1, *range(200_000)]
    assert rows[200_000]["text"] == long


OBJECTS = [{"a": {"b": "x"}, "n": 1}, {"a": {"b": "y"}, "extra": "z"}]


def test_json_and_jsonl_keep_nesting_and_columns_that_come_late(write):
    lines = "\n\n".join(map(json.dumps, OBJECTS))
    for name, text in (("a.json", json.dumps(OBJECTS)), ("a.jsonl", lines), ("b.ndjson", lines)):
        assert tables([write(name, "\ufeff" + text)]) == [
            [{"a": {"b": "x"}, "n": 1, "extra": None}, {"a": {"b": "y"}, "n": None, "extra": "z"}]
        ]


def test_a_quotation_mark_that_does_not_end(write, monkeypatch):
    monkeypatch.setattr(
        csv_reader, "_MAX_ROW_BYTES", csv_reader._INITIAL_BLOCK_SIZE
    )  # 1 MB will do to see it
    path = write("a.csv", 'a\nx\n"' + "y\n" * csv_reader._INITIAL_BLOCK_SIZE)
    with pytest.raises(UserError, match=r"a\.csv: row 3 is longer than 1 MB(.|\n)*does not end"):
        tables([path])


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
def test_a_list_of_objects_is_read_however_it_is_cut(tmp_path_factory, rows, indent, chunk):
    path = tmp_path_factory.mktemp("j") / "a.json"
    path.write_text(json.dumps(rows, indent=indent, ensure_ascii=False), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "CHUNK_SIZE", chunk)  # so small that every value is cut
        assert [value for _, value in json_reader._iter_array_elements(path)] == rows


@pytest.mark.parametrize("packed", ["gzip", "zstd"])
@pytest.mark.parametrize("named", [True, False])
def test_compressed_files(write, tmp_path, packed, named):
    contents = {
        "csv": b"n,text\n1,x\n2,y\n",
        "tsv": b"n\ttext\n1\tx\n2\ty\n",
        "json": b'[{"n": 1, "text": "x"}, {"n": 2, "text": "y"}]',
        "jsonl": b'{"n": 1, "text": "x"}\n{"n": 2, "text": "y"}',
    }
    table = pa.table({"n": [1, 2], "text": ["x", "y"]})
    for kind in ("parquet", "arrow"):
        plain = tmp_path / "plain"
        if kind == "parquet":
            parquet.write_table(table, plain)
        else:
            with ipc.new_stream(plain, table.schema) as stream:
                stream.write_table(table)
        contents[kind] = plain.read_bytes()
    ending = {"gzip": ".gz", "zstd": ".zst"}[packed] if named else ""
    for kind, content in contents.items():
        path = tmp_path / f"a.{kind}{ending}"
        with pa.CompressedOutputStream(str(path), packed) as file:
            file.write(content)
        assert tables([path]) == [[{"n": 1, "text": "x"}, {"n": 2, "text": "y"}]]


@pytest.mark.parametrize("kind", [ipc.new_file, ipc.new_stream])
def test_arrow_files_and_streams_in_plain_types(tmp_path, kind):
    struct = pa.struct([pa.field("x", pa.large_string(), nullable=False, metadata={"a": "b"})])
    table = pa.table(
        {
            "view": pa.array(["a", None], pa.string_view()),
            "word": pa.array(["b", "b"]).dictionary_encode(),
            "many": pa.array([[{"x": "c"}], None], pa.large_list(struct)),
            "few": pa.array([[1, 2], [3, 4]], pa.list_(pa.int32(), 2)),
        },
        metadata={"pandas": "3.1"},
    )
    with kind(tmp_path / "a.arrow", table.schema) as file:
        file.write_table(table)
    batches = [batch for _, batch in file_formats.read_files([tmp_path / "a.arrow"], None)]
    expected = pa.schema(
        {
            "view": pa.string(),
            "word": pa.string(),
            "many": pa.list_(pa.struct({"x": pa.string()})),
            "few": pa.list_(pa.int32()),
        }
    )
    assert batches[0].schema.equals(expected, check_metadata=True)
    assert pa.Table.from_batches(batches).to_pylist() == table.to_pylist()


def test_files_without_rows(write, tmp_path):
    file_formats.write_parquet([], pa.schema({"a": pa.int64()}), tmp_path / "a.parquet")
    paths = [write("a.csv", "a,b\n"), write("a.json", "[]"), write("a.jsonl", "\n")]
    found = list(file_formats.read_files([*paths, tmp_path / "a.parquet"], None))
    assert [(path.name, batch.num_rows, batch.schema.names) for path, batch in found] == [
        ("a.csv", 0, ["a", "b"]),
        ("a.parquet", 0, ["a"]),
    ]


def test_batches_are_no_larger_than_they_may_be(tmp_path):
    rows = pa.table({"n": range(25_000)})
    parquet.write_table(rows, tmp_path / "a.parquet")
    with ipc.new_file(tmp_path / "b.arrow", rows.schema) as file:
        file.write_table(rows)
    (tmp_path / "c.csv").write_text("n\n" + "".join(f"{i}\n" for i in range(25_000)))
    (tmp_path / "d.jsonl").write_text("".join(f'{{"n": {i}}}\n' for i in range(25_000)))
    for found in tables(sorted(tmp_path.iterdir())):
        assert [row["n"] for row in found] == list(range(25_000))


@settings(max_examples=20)
@given(
    st.lists(st.none() | TEXTS, max_size=50),
    st.lists(st.integers(1, 9000), max_size=8),
)
def test_the_same_rows_give_the_same_bytes_however_they_came(tmp_path_factory, texts, cuts):
    folder = tmp_path_factory.mktemp("p")
    table = pa.table({"text": texts * 500, "n": range(len(texts) * 500)}, pa.schema(
        {"text": pa.string(), "n": pa.int64()}, metadata={"pandas": "3.1"}
    ))  # fmt: skip
    pieces, rest = [], table
    for cut in cuts:
        pieces.append(rest.slice(0, cut))
        rest = rest.slice(cut)
    pieces.append(rest)
    batches = [batch for piece in pieces for batch in piece.combine_chunks().to_batches()]
    whole = file_formats.write_parquet(table.to_batches(), table.schema, folder / "a.parquet")
    cut = file_formats.write_parquet(batches, table.schema, folder / "b.parquet")
    assert whole == cut == table.num_rows
    assert (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()
    with parquet.ParquetFile(folder / "a.parquet") as file:
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        assert groups == [10_000] * (whole // 10_000) + [whole % 10_000] * bool(whole % 10_000)
        assert not file.schema_arrow.metadata
        assert file.read().to_pydict() == table.to_pydict()


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("csv", "a,b\n1,2\n1\n", "x cannot be read as csv: row 3: Expected 2 columns, got 1"),
        ("csv", "", "x cannot be read as csv: Empty CSV file"),
        ("csv", "a,a\n1,2\n", "x has more than one column 'a'"),
        ("json", '{"a": 1}', "x is not a list of objects"),
        ("json", "", "x is not a list of objects"),
        ("json", "[", "x cannot be read as json: line 1: Expecting value"),
        ("json", '[{"a": 1},\n{"a" 1}]', "x cannot be read as json: line 2: Expecting ':'"),
        ("json", '[{"a": 1}\n{"a": 1}]', "x cannot be read as json: line 2: ',' or '\\]' expected"),
        ("json", '[{"a": "x', "x cannot be read as json: line 1: Unterminated string"),
        ("json", '[{"a": 1}] []', "x cannot be read as json: line 1: there is more after"),
        ("json", '[{"a": 1},\n3]', "x: line 2 is not an object but number"),
        ("jsonl", '{"a": 1}\n\n{"a"', "x cannot be read as jsonl: line 3, column 5: "),
        ("jsonl", "3\n", "x: line 1 is not an object but number"),
        ("jsonl", "[]\n", "x: line 1 is not an object but list"),
        ("jsonl", '{"a": 1}\n{"a": "x"}\n',
         "x: column 'a' has values of different types: number in line 1, text in line 2"),
        ("jsonl", '{"a": 1e9, "b": 1%s}' % ("0" * 30), "x: column 'b', lines 1 to 1"),
        ("jsonl", '{"a": "\\ud800"}', "x: column 'a', lines 1 to 1"),
        ("parquet", "PAR", "x cannot be read as parquet"),
        ("parquet", "", "x cannot be read as parquet"),
        ("arrow", "ARROW1", "x cannot be read as arrow"),
        ("arrow", "", "x cannot be read as arrow"),
        ("arrow", "something else", "x cannot be read as arrow"),
    ],
)  # fmt: skip
def test_a_file_of_another_kind(write, kind, text, message):
    with pytest.raises(UserError, match=message):
        tables([write("x", text)], kind)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("csv", "text\ncafé\n", "a cannot be read as csv: .*row 2.*(.|\n)*UTF-8"),
        ("csv", "café\nx\n", "a cannot be read as csv(.|\n)*UTF-8"),
        ("tsv", "text\ncafé\n", "a cannot be read as tsv: .*row 2.*(.|\n)*UTF-8"),
        ("json", '[{"a": "café"}]', "a cannot be read as json(.|\n)*UTF-8"),
        ("jsonl", '{"a": 1}\n{"a": "café"}', "a cannot be read as jsonl: line 2: it is not UTF-8"),
    ],
)
def test_text_that_is_not_utf8(tmp_path, kind, text, message):
    path = tmp_path / "a"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=message):
        tables([path], kind)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "parquet", "arrow"])
def test_damaged_gzip(tmp_path, kind):
    path = tmp_path / f"a.{kind}.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 10_000)[:-50])
    with pytest.raises(UserError, match=rf"a\.{kind}\.gz cannot be read as {kind}|is not a list"):
        tables([path])


def test_a_name_that_says_nothing(write):
    with pytest.raises(UserError, match=r"notes\.txt ends in no format that is known: \.csv"):
        tables([write("notes.txt", "a")])


def test_a_file_that_is_not_there(tmp_path):
    for kind in ("csv", "json", "jsonl", "parquet", "arrow"):
        with pytest.raises(UserError, match=f"a cannot be read as {kind}"):
            tables([tmp_path / "a"], kind)


def peak(path) -> int:
    """MB of memory that a process takes to read a file, beyond what it had before."""
    program = (
        "import sys; from pathlib import Path\n"
        "from blossomtune.data.sources import file_formats\n"
        "from peak_memory import get_peak_bytes, reset_peak\n"
        "reset_peak()\n"
        "before = get_peak_bytes()\n"
        "rows = sum(batch.num_rows for _, batch in file_formats.read_files([Path(sys.argv[1])], None))\n"
        "print(rows, (get_peak_bytes() - before) >> 20)\n"
    )
    command = [sys.executable, "-c", program, path]
    done = subprocess.run(
        command, check=True, env={"PYTHONPATH": CODE}, capture_output=True, text=True
    )
    rows, grown = map(int, done.stdout.split())
    assert rows == 400_000
    return grown


@pytest.mark.parametrize("ending", ["csv", "jsonl", "json", "parquet", "arrow"])
def test_memory_does_not_grow_with_the_file(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    text = "some words, and then some more " * 13
    table = pa.table({"n": range(400_000), "text": [f"{i} {text}" for i in range(400_000)]})
    if ending == "parquet":
        parquet.write_table(table, path, compression="none", use_dictionary=False)
    elif ending == "arrow":
        with ipc.new_stream(path, table.schema) as file:
            file.write_table(table, 1000)
    elif ending == "csv":
        with path.open("w") as file:
            file.write("n,text\n")
            file.writelines(f'{i},"{i} {text}"\n' for i in range(400_000))
    else:
        lines = (json.dumps(row) for batch in table.to_batches(5000) for row in batch.to_pylist())
        with path.open("w") as file:
            file.write("[" if ending == "json" else "")
            for i, line in enumerate(lines):
                file.write(("," if i and ending == "json" else "") + line + "\n")
            file.write("]" if ending == "json" else "")
    assert path.stat().st_size > 160e6
    assert peak(path) < 120


def test_objects_without_fields(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"a": 1, "meta": {}}\n{"a": 2, "meta": {}}\n')
    ((_, batch),) = file_formats.read_files([tmp_path / "a.jsonl"], "jsonl")
    assert batch.to_pylist() == [{"a": 1, "meta": None}, {"a": 2, "meta": None}]
    assert file_formats.write_parquet([batch], batch.schema, tmp_path / "a.parquet") == 2
    deeper = pa.RecordBatch.from_pylist([{"turns": [{"meta": {}}]}])
    with pytest.raises(UserError, match=r"Cannot write struct type 'meta'.*\n  hint: leave that"):
        file_formats.write_parquet([deeper], deeper.schema, tmp_path / "b.parquet")
