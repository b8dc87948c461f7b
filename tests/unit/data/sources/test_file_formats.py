"""Tests of all file formats, and of the Parquet writer."""

import gzip
import json
import os
import subprocess
import sys
from pathlib import Path

import peak_memory
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import ipc, parquet

import blossomtune
from blossomtune.data.sources import file_formats
from blossomtune.errors import UserError

CODE = os.pathsep.join(
    [str(Path(blossomtune.__file__).parents[1]), str(Path(peak_memory.__file__).parent)]
)


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("named", [True, False])
def test_compressed_files_are_read_by_suffix_or_content(
    read_rows, write_file, tmp_path, compression, named
):
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
    suffix = {"gzip": ".gz", "zstd": ".zst"}[compression] if named else ""
    for kind, content in contents.items():
        path = tmp_path / f"a.{kind}{suffix}"
        with pa.CompressedOutputStream(str(path), compression) as file:
            file.write(content)
        assert read_rows([path]) == [[{"n": 1, "text": "x"}, {"n": 2, "text": "y"}]]


def test_files_without_rows_keep_their_columns(write_file, tmp_path):
    file_formats.write_parquet([], pa.schema({"a": pa.int64()}), tmp_path / "a.parquet")
    paths = [write_file("a.csv", "a,b\n"), write_file("a.json", "[]"), write_file("a.jsonl", "\n")]
    batches = list(file_formats.read_files([*paths, tmp_path / "a.parquet"]))
    assert [(path.name, batch.num_rows, batch.schema.names) for path, batch in batches] == [
        ("a.csv", 0, ["a", "b"]),
        ("a.parquet", 0, ["a"]),
    ]


def test_batches_have_at_most_the_maximum_rows(read_rows, tmp_path):
    table = pa.table({"n": range(25_000)})
    parquet.write_table(table, tmp_path / "a.parquet")
    with ipc.new_file(tmp_path / "b.arrow", table.schema) as file:
        file.write_table(table)
    (tmp_path / "c.csv").write_text("n\n" + "".join(f"{i}\n" for i in range(25_000)))
    (tmp_path / "d.jsonl").write_text("".join(f'{{"n": {i}}}\n' for i in range(25_000)))
    for rows in read_rows(sorted(tmp_path.iterdir())):
        assert [row["n"] for row in rows] == list(range(25_000))


@settings(max_examples=20)
@given(
    st.lists(st.none() | TEXTS, max_size=50),
    st.lists(st.integers(1, 9000), max_size=8),
)
def test_parquet_bytes_do_not_depend_on_batch_sizes(tmp_path_factory, texts, part_sizes):
    folder = tmp_path_factory.mktemp("p")
    table = pa.table({"text": texts * 500, "n": range(len(texts) * 500)}, pa.schema(
        {"text": pa.string(), "n": pa.int64()}, metadata={"pandas": "3.1"}
    ))  # fmt: skip
    parts, rest = [], table
    for size in part_sizes:
        parts.append(rest.slice(0, size))
        rest = rest.slice(size)
    parts.append(rest)
    batches = [batch for piece in parts for batch in piece.combine_chunks().to_batches()]
    num_rows = file_formats.write_parquet(table.to_batches(), table.schema, folder / "a.parquet")
    split_rows = file_formats.write_parquet(batches, table.schema, folder / "b.parquet")
    assert num_rows == split_rows == table.num_rows
    assert (folder / "a.parquet").read_bytes() == (folder / "b.parquet").read_bytes()
    with parquet.ParquetFile(folder / "a.parquet") as file:
        groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
        assert groups == [10_000] * (num_rows // 10_000) + [num_rows % 10_000] * bool(
            num_rows % 10_000
        )
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
        ("jsonl", "[]\n", "x is a JSON array, not one object per line\n.*kind: json"),
        ("jsonl", '{"a": 1}\n{"a": "x"}\n',
         "x: column 'a' has values of different types: number in line 1, text in line 2"),
        ("jsonl", '{"a": 1e9, "b": 1%s}' % ("0" * 30), 
         "x: line 1: column 'b' has a number beyond 64 bits"),
        ("jsonl", '{"a": 1}\n\n{"a": 1, "b": {"c": ["\\ud800"]}}\n{"a": 2}',
         "x: line 3: column 'b' has a lone surrogate"),
        ("json", '[{"a": 1},\n{"a": "\\ud800"}]', "x: line 2: column 'a' has a lone surrogate"),
        ("parquet", "PAR", "x cannot be read as parquet"),
        ("parquet", "", "x cannot be read as parquet"),
        ("arrow", "ARROW1", "x cannot be read as arrow"),
        ("arrow", "", "x cannot be read as arrow"),
        ("arrow", "something else", "x cannot be read as arrow"),
    ],
)  # fmt: skip
def test_file_of_another_format_is_rejected(read_rows, write_file, kind, text, message):
    with pytest.raises(UserError, match=message):
        read_rows([write_file("x", text)], kind)


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("json", '[{"a": "café"}]', "a cannot be read as json(.|\n)*format.encoding"),
        ("jsonl", '{"a": 1}\n{"a": "café"}', "a cannot be read as jsonl: line 2: it is not UTF-8"),
    ],
)
def test_json_that_is_not_utf8_is_rejected(read_rows, tmp_path, kind, text, message):
    path = tmp_path / "a"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError, match=message):
        read_rows([path], kind)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "json", "parquet", "arrow"])
def test_damaged_gzip_is_rejected(read_rows, tmp_path, kind):
    path = tmp_path / f"a.{kind}.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 10_000)[:-50])
    with pytest.raises(UserError, match=rf"a\.{kind}\.gz cannot be read as {kind}|is not a list"):
        read_rows([path])


def test_unknown_suffix_is_rejected(read_rows, write_file):
    with pytest.raises(UserError, match=r"notes\.doc ends in no format that is known: \.csv"):
        read_rows([write_file("notes.doc", "a")])


def test_missing_file_is_rejected(read_rows, tmp_path):
    for kind in ("csv", "json", "jsonl", "parquet", "arrow"):
        with pytest.raises(UserError, match=f"a cannot be read as {kind}"):
            read_rows([tmp_path / "a"], kind)


def measure_peak(path) -> int:
    """Return the memory in MB that a process needs to read a file."""
    program = (
        "import sys; from pathlib import Path\n"
        "from blossomtune.data.sources import file_formats\n"
        "from peak_memory import get_peak_bytes, reset_peak\n"
        "reset_peak()\n"
        "before = get_peak_bytes()\n"
        "batches = file_formats.read_files([Path(sys.argv[1])])\n"
        "rows = sum(batch.num_rows for _, batch in batches)\n"
        "print(rows, (get_peak_bytes() - before) >> 20)\n"
    )
    command = [sys.executable, "-c", program, path]
    result = subprocess.run(
        command, check=True, env={"PYTHONPATH": CODE}, capture_output=True, text=True
    )
    rows, megabytes = map(int, result.stdout.split())
    assert rows == 400_000
    return megabytes


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "json", "parquet", "arrow"])
def test_memory_does_not_grow_with_the_file(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    text = "some words, and then some more " * 13
    table = pa.table({"n": range(400_000), "text": [f"{i} {text}" for i in range(400_000)]})
    if suffix == "parquet":
        parquet.write_table(table, path, compression="none", use_dictionary=False)
    elif suffix == "arrow":
        with ipc.new_stream(path, table.schema) as file:
            file.write_table(table, 1000)
    elif suffix == "csv":
        with path.open("w") as file:
            file.write("n,text\n")
            file.writelines(f'{i},"{i} {text}"\n' for i in range(400_000))
    else:
        lines = (json.dumps(row) for batch in table.to_batches(5000) for row in batch.to_pylist())
        with path.open("w") as file:
            file.write("[" if suffix == "json" else "")
            for i, line in enumerate(lines):
                file.write(("," if i and suffix == "json" else "") + line + "\n")
            file.write("]" if suffix == "json" else "")
    assert path.stat().st_size > 160e6
    assert measure_peak(path) < 120
