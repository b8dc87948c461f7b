"""Tests of class names in data sets, mixtures and clients' files."""

import pyarrow as pa
import pytest
from datasets import ClassLabel, Dataset, Features, List, Value
from pyarrow import parquet

from blossomtune.artifacts.dataset_manifest import ClassLabels
from blossomtune.config.datasets import DatasetSettings
from blossomtune.data.preparation.build_dataset import build_dataset
from blossomtune.data.preparation.class_names import check_client_class_labels
from blossomtune.errors import UserError

NAMES = ["negative", "positive"]


def write_rows(path, labels, names=NAMES):
    label = ClassLabel(names=names)
    features = Features({"text": Value("string"), "label": label, "tags": List(label)})
    rows = {
        "text": [f"{path.stem} {i}" for i in range(len(labels))],
        "label": labels,
        "tags": [[label] for label in labels],
    }
    Dataset.from_dict(rows, features).to_parquet(path)


@pytest.fixture
def build(tmp_path):
    """Return a function that builds a data set; it returns manifest and rows of both splits."""

    def run(source, member_folders=(), name="out", **changes):
        if not isinstance(source, dict):
            source = {"kind": "path", "path": str(source)}
        config = DatasetSettings.model_validate({"source": source, **changes})
        (tmp_path / name).mkdir()
        manifest = build_dataset(
            config.model_dump(mode="json") | {"seed": 5}, tmp_path / name, member_folders
        )
        splits = (parquet.read_table(tmp_path / name / f"{n}.parquet") for n in ("train", "test"))
        return manifest, *(table.to_pylist() for table in splits)

    return run


def test_every_step_sees_the_names(build, tmp_path):
    write_rows(tmp_path / "a.parquet", [0, 1, 1, 1] * 10 + [-1])
    manifest, train, test = build(
        tmp_path / "a.parquet",
        rename={"label": "my label"},
        derive={"answer": "{{ row['my label'] or '-' }}"},
        filter="row['my label'] == 'positive' or tags == ['negative']",
        columns=["my label", "answer", "tags"],
        test={"size": 4, "stratify_by": "my label"},
    )
    rows = [*train, *test]
    assert len(rows) == 40
    assert all(row["my label"] == row["answer"] == row["tags"][0] for row in rows)
    assert sorted(row["my label"] for row in test) == ["negative", *["positive"] * 3]
    assert [labels.model_dump() for labels in manifest.class_labels] == [
        {"column": "my label", "field": "", "names": NAMES, "used": "names"},
        {"column": "tags", "field": "[]", "names": NAMES, "used": "names"},
    ]


def test_numbers_stay_and_the_manifest_has_their_names(build, tmp_path):
    write_rows(tmp_path / "a.parquet", [0, 1, -1])
    manifest, train, test = build(
        tmp_path / "a.parquet", class_labels="numbers", columns=["label"], test={"size": 1}
    )
    assert sorted(row["label"] for row in [*train, *test]) == [-1, 0, 1]
    assert [labels.model_dump() for labels in manifest.class_labels] == [
        {"column": "label", "field": "", "names": NAMES, "used": "numbers"}
    ]


def test_derived_columns_have_no_class_names(build, tmp_path):
    write_rows(tmp_path / "a.parquet", [0, 1])
    manifest, _, _ = build(
        tmp_path / "a.parquet",
        derive={"label": "{{ label | upper }}"},
        columns=["label"],
        test={"size": 1},
    )
    assert manifest.class_labels == []


def test_mixture_joins_the_names_of_its_members(build, tmp_path):
    write_rows(tmp_path / "a.parquet", [0, 1])
    write_rows(tmp_path / "b.parquet", [0, 1, 2], ["positive", "neutral", "negative"])
    for name in "ab":
        build(tmp_path / f"{name}.parquet", name=name, columns=["label"], test={"size": 1})
    source = {"kind": "mixture", "datasets": ["a", "b"]}
    manifest, train, test = build(source, (tmp_path / "a", tmp_path / "b"))
    rows = sorted(row["label"] for row in [*train, *test])
    assert rows == ["negative", "negative", "neutral", "positive", "positive"]
    assert [labels.names for labels in manifest.class_labels] == [[*NAMES, "neutral"]]


def test_mixture_of_numbers_that_mean_other_classes_is_rejected(build, tmp_path):
    write_rows(tmp_path / "a.parquet", [0, 1])
    write_rows(tmp_path / "b.parquet", [0, 1], NAMES[::-1])
    for name in "ab":
        source = tmp_path / f"{name}.parquet"
        build(source, name=name, columns=["label"], class_labels="numbers", test={"size": 1})
    source = {"kind": "mixture", "datasets": ["a", "b"]}
    with pytest.raises(UserError, match="the numbers of column 'label' mean negative, positive in"):
        build(source, (tmp_path / "a", tmp_path / "b"))


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"derive": {"x": "{{ 'good' if label == 1 else 'bad' }}"}}, r"derive\.x"),
        ({"derive": {"x": "{{ 'good' if label else 'bad' }}"}}, r"derive\.x"),
        ({"filter": "label == 1"}, "filter"),
        ({"filter": "label and text"}, "filter"),
        ({"rename": {"label": "a b"}, "filter": "row['a b'] in [0, 1]"}, "filter"),
    ],
)
def test_names_are_not_used_as_the_numbers_they_replaced(build, tmp_path, changes, key):
    write_rows(tmp_path / "a.parquet", [0, 1])
    with pytest.raises(
        UserError, match=rf"^{key}: column '(label|a b)' has class names \(negative"
    ):
        build(tmp_path / "a.parquet", test={"size": 1}, **changes)
    build(tmp_path / "a.parquet", test={"size": "all"}, class_labels="numbers", name="n", **changes)


def test_derived_column_may_be_used_as_anything(build, tmp_path):
    write_rows(tmp_path / "a.parquet", [0, 1])
    derive = {"label": "{{ label | replace('negative', '') }}", "x": "{{ 1 if label else 0 }}"}
    _, _, rows = build(tmp_path / "a.parquet", test={"size": "all"}, derive=derive)
    assert [row["x"] for row in rows] == ["0", "1"]


@pytest.mark.parametrize("class_labels", ["names", "numbers"])
def test_test_source_with_another_order_of_names(build, tmp_path, class_labels):
    write_rows(tmp_path / "a.parquet", [0, 0])
    write_rows(tmp_path / "b.parquet", [0, 2], ["positive", "negative", "neutral"])
    test = {"source": {"kind": "path", "path": str(tmp_path / "b.parquet")}}
    if class_labels == "numbers":
        with pytest.raises(UserError, match="the numbers of column 'label' mean negative, pos"):
            build(tmp_path / "a.parquet", test=test, class_labels=class_labels)
        return
    manifest, train, test_rows = build(tmp_path / "a.parquet", test=test)
    assert [row["label"] for row in train] == ["negative", "negative"]
    assert [row["label"] for row in test_rows] == ["positive", "neutral"]
    assert manifest.class_labels[0].names == ["negative", "positive", "neutral"]


def make_labels(used, names=NAMES, column="label"):
    return ClassLabels(column=column, field="", names=names, used=used)


def test_client_with_the_classes_of_the_data_set_is_accepted():
    text, number = (pa.schema([("label", t)]) for t in (pa.string(), pa.int64()))
    check_client_class_labels(text, [], [make_labels("names")])
    check_client_class_labels(text, [make_labels("names", NAMES[::-1])], [make_labels("names")])
    check_client_class_labels(number, [], [make_labels("numbers")])
    check_client_class_labels(number, [make_labels("numbers")], [make_labels("numbers")])


@pytest.mark.parametrize(
    ("own", "used", "message"),
    [
        ([], "names", "column 'label' has values of type int64, but the data set has class names"),
        ([make_labels("numbers", NAMES[::-1])], "numbers", "the numbers of column 'label' mean"),
    ],
)
def test_client_with_other_classes_is_rejected(own, used, message):
    schema = pa.schema([("label", pa.int64())])
    with pytest.raises(UserError, match=message):
        check_client_class_labels(schema, own, [make_labels(used)])
