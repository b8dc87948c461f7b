"""Tests of class names that `datasets` stores beside class numbers."""

import json

import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, Features, LargeList, List, Sequence, Value
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from blossomtune.data.sources import file_formats, load_source
from blossomtune.data.sources.arrow_reader import normalize_batch
from blossomtune.data.sources.class_labels import ClassLabelDecoder, copy_metadata
from blossomtune.errors import UserError

LABEL = ClassLabel(names=["negative", "positive"])
SOURCE = {"kind": "path", "files": "**", "split": None}


def read_rows(path, *, use_class_names=True):
    """Return rows and class names of a local file or folder."""
    source = SOURCE | {"path": str(path)}
    loaded = load_source.load_source(source, None, path, use_class_names=use_class_names)
    return [
        row for _, batch in loaded.file_batches for row in batch.to_pylist()
    ], loaded.class_names


def decode(values, feature, decoder=None, arrow_type=None):
    """Decode one column as `datasets` stores it, with its feature as JSON."""
    metadata = {"huggingface": json.dumps({"info": {"features": {"x": feature}}})}
    batch = pa.record_batch({"x": pa.array(values, arrow_type)})
    schema = batch.schema.with_metadata(metadata)
    decoder = decoder or ClassLabelDecoder(use_names=True)
    decoded = decoder.decode("a.parquet", copy_metadata(schema, normalize_batch(batch)))
    assert not decoded.schema.metadata
    return decoded.column(0).to_pylist()


def to_json(names):
    return {"_type": "ClassLabel", "names": names}


def write_dataset(path, file_format):
    rows = {"text": ["a", "b", "c", "d"], "label": [1, 0, -1, None]}
    dataset = Dataset.from_dict(rows, Features({"text": Value("string"), "label": LABEL}))
    if file_format == "parquet":
        dataset.to_parquet(path)
    elif file_format == "arrow":
        with pa.ipc.new_file(str(path), dataset.features.arrow_schema) as file:
            file.write_table(dataset.with_format("arrow")[:])
    else:
        dataset.save_to_disk(path)


@pytest.mark.parametrize("name", ["a.parquet", "a.arrow", "saved"])
def test_numbers_become_names(tmp_path, name):
    path = tmp_path / name
    write_dataset(path, name.removeprefix("a."))
    rows, names = read_rows(path)
    assert [row["label"] for row in rows] == ["positive", "negative", None, None]
    assert names == {("label", ""): ["negative", "positive"]}


def test_numbers_stay_where_they_are_wanted(tmp_path):
    write_dataset(tmp_path / "a.parquet", "parquet")
    rows, names = read_rows(tmp_path / "a.parquet", use_class_names=False)
    assert [row["label"] for row in rows] == [1, 0, -1, None]
    assert names == {("label", ""): ["negative", "positive"]}


def test_classes_inside_lists_and_structs_become_names(tmp_path):
    features = {
        "tags": List(LABEL),
        "large": LargeList(LABEL),
        "fixed": List(LABEL, length=2),
        "one": {"deep": LABEL, "text": Value("string")},
        "turns": List({"mood": LABEL, "text": Value("string")}),
        "entities": Sequence({"kind": LABEL}),
        "numbers": List(Value("int64")),
    }
    row = {
        **{"tags": [0, 1, None], "large": [1], "fixed": [1, -1]},
        **{"one": {"deep": 1, "text": "t"}, "turns": [{"mood": 0, "text": "t"}]},
        **{"entities": {"kind": [1, 0]}, "numbers": [1]},
    }
    empty = dict.fromkeys(features)
    rows = [empty, row, empty | {"tags": []}]
    columns = {name: [r[name] for r in rows] for name in features}
    Dataset.from_dict(columns, Features(features)).to_parquet(tmp_path / "a.parquet")
    (first, second, third), names = read_rows(tmp_path / "a.parquet")
    assert second == {
        **{"tags": ["negative", "positive", None], "large": ["positive"]},
        **{"fixed": ["positive", None], "one": {"deep": "positive", "text": "t"}},
        **{"turns": [{"mood": "negative", "text": "t"}]},
        **{"entities": {"kind": ["positive", "negative"]}, "numbers": [1]},
    }
    assert first["tags"] is None
    assert third["tags"] == []
    assert {column + field for column, field in names} == {
        *("tags[]", "large[]", "fixed[]", "one.deep", "turns[].mood", "entities.kind[]"),
    }


@pytest.mark.parametrize(
    ("feature", "values"),
    [
        (to_json(["a", "b"]) | {"num_classes": 2, "names_file": None, "id": None}, [1, 0]),
        ([to_json(["a", "b"])], [[1, 0], None]),
        ({"_type": "Sequence", "feature": to_json(["a", "b"]), "length": -1}, [[1], [0]]),
        (
            {"_type": "Sequence", "feature": {"k": to_json(["a", "b"])}, "length": -1, "id": None},
            [{"k": [1, 0]}],
        ),
        ({"k": to_json(["a", "b"])}, [{"k": 1}, None, {"k": None}]),
    ],
)
def test_features_of_older_versions_are_read(feature, values):
    expected = json.loads(json.dumps(values).replace("1", '"b"').replace("0", '"a"'))
    assert decode(values, feature) == expected


@pytest.mark.parametrize("number_type", [pa.int8(), pa.uint8(), pa.int32(), pa.uint64()])
def test_numbers_of_any_width_become_names(number_type):
    assert decode([1, None, 0], to_json(["a", "b"]), arrow_type=number_type) == ["b", None, "a"]


@pytest.mark.parametrize(
    ("values", "feature"),
    [
        (["b", None, "a"], to_json(["a", "b"])),  # names already
        ([1, 0, -1], to_json(["0", "1"])),  # no names
        ([1, 0, -1], {"_type": "ClassLabel", "num_classes": 2}),
        ([1, 7], {"_type": "Value", "dtype": "int64"}),
        ([{"_type": 1}], {"_type": {"_type": "Value", "dtype": "int64"}}),
    ],
)
def test_columns_without_class_numbers_or_names_stay(values, feature):
    assert decode(values, feature) == values


@pytest.mark.parametrize("metadata", [b"no JSON", b"[1]", b'{"info": null}', b"{}"])
def test_metadata_of_another_kind_are_ignored(metadata):
    batch = pa.record_batch({"x": [1]}).replace_schema_metadata({b"huggingface": metadata})
    assert ClassLabelDecoder(use_names=True).decode("a", batch).to_pylist() == [{"x": 1}]


@pytest.mark.parametrize(
    ("values", "feature", "location", "number"),
    [
        ([0, 1, 2], to_json(["a", "b"]), "row 5 of a.parquet: x", 2),
        ([0, -2], to_json(["a", "b"]), "row 4 of a.parquet: x", -2),
        ([[], [0, 1], None, [0, 9]], [to_json(["a", "b"])], "row 6 of a.parquet: x[]", 9),
        ([{"k": 0}, {"k": 3}], {"k": to_json(["a", "b"])}, "row 4 of a.parquet: x.k", 3),
    ],
)
def test_number_without_a_name_is_an_error_with_its_row(values, feature, location, number):
    decoder = ClassLabelDecoder(use_names=True)
    decoder.decode("other.parquet", pa.record_batch({"x": [0] * 9}))
    decoder.decode("a.parquet", pa.record_batch({"x": [0] * 3}))
    with pytest.raises(UserError) as error:
        decode(values, feature, decoder)
    assert str(error.value) == (
        f"{location}: there is no class {number}; classes: 0 to 1 (a, b)\n  hint: mend the "
        "file's list of names; class_labels: numbers keeps the numbers of the file"
    )


def test_two_classes_of_one_name_are_an_error():
    with pytest.raises(UserError, match="two classes have the same name: a, b, a"):
        decode([0, 2], to_json(["a", "b", "a"]))


def test_files_with_other_orders_of_names_agree_on_names_and_not_on_numbers():
    decoder = ClassLabelDecoder(use_names=True)
    assert decode([0, 1], to_json(["a", "b"]), decoder) == ["a", "b"]
    assert decode([0, 1, 2], to_json(["b", "a", "c"]), decoder) == ["b", "a", "c"]
    assert decoder.names == {("x", ""): ["a", "b", "c"]}
    decoder = ClassLabelDecoder(use_names=False)
    assert decode([0, 1], to_json(["a", "b"]), decoder) == [0, 1]
    with pytest.raises(UserError, match="the numbers of column 'x' mean b, a, and in an earlier"):
        decode([0, 1], to_json(["b", "a"]), decoder)


@given(st.lists(st.one_of(st.none(), st.lists(st.integers(-1, 2) | st.none()))), st.data())
def test_decoding_is_that_of_python_also_in_slices(cells, data):
    names = ["a", "b", "c"]
    start = data.draw(st.integers(0, len(cells)))
    schema = pa.schema([("x", pa.list_(pa.int64()))])
    features = {"info": {"features": {"x": [to_json(names)]}}}
    batch = pa.record_batch([pa.array(cells, pa.list_(pa.int64()))], schema)
    batch = batch.replace_schema_metadata({"huggingface": json.dumps(features)}).slice(start)
    decoded = ClassLabelDecoder(use_names=True).decode("a", batch)
    assert decoded.column(0).to_pylist() == [
        None if cell is None else [None if n in (None, -1) else names[n] for n in cell]
        for cell in cells[start:]
    ]


def test_file_without_rows_has_a_column_of_text(tmp_path):
    schema = Features({"label": LABEL}).arrow_schema
    parquet.write_table(schema.empty_table(), tmp_path / "a.parquet")
    ((_, batch),) = file_formats.read_files([tmp_path / "a.parquet"])
    decoded = ClassLabelDecoder(use_names=True).decode("a.parquet", batch)
    assert decoded.schema.field("label").type == pa.string()
