"""Tests of Arrow files and of normalized types."""

import pyarrow as pa
import pytest
from pyarrow import ipc

from blossomtune.data.sources import file_formats


@pytest.mark.parametrize("kind", [ipc.new_file, ipc.new_stream])
def test_arrow_types_are_normalized(tmp_path, kind):
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
    batches = [batch for _, batch in file_formats.read_files([tmp_path / "a.arrow"])]
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
