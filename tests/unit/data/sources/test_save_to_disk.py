"""Tests of folders that `save_to_disk` wrote."""

import json

import datasets
import pytest

from blossomtune.config.file_format import FileFormat
from blossomtune.data.sources import file_formats, save_to_disk
from blossomtune.errors import UserError


def read_texts(folder, split=None):
    """Return file name and text of each row."""
    files = save_to_disk.list_arrow_files(folder, split)
    batches = file_formats.read_files(files, FileFormat(kind="arrow"))
    return [(path.name, row["text"]) for path, batch in batches for row in batch.to_pylist()]


@pytest.fixture
def saved(tmp_path):
    """Save a data set in two files, one with two splits and one with a single split."""
    rows = datasets.Dataset.from_dict({"text": [f"row {i}" for i in range(5)]}, split="train")
    rows.save_to_disk(tmp_path / "one", num_shards=2)
    datasets.DatasetDict({"train": rows, "test": rows.select([4])}).save_to_disk(tmp_path / "two")
    datasets.DatasetDict({"all": rows}).save_to_disk(tmp_path / "single")
    return tmp_path


def test_rows_are_read_in_order_of_files_and_by_split(saved):
    rows = read_texts(saved / "one")
    assert [text for _, text in rows] == [f"row {i}" for i in range(5)]
    assert {name for name, _ in rows} == {f"data-0000{i}-of-00002.arrow" for i in range(2)}
    assert read_texts(saved / "one", "train") == rows
    assert [text for _, text in read_texts(saved / "two", "test")] == ["row 4"]
    assert len(read_texts(saved / "single")) == 5


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("two", None, r"source\.split: '.*two' has more than one split; splits: train, test"),
        ("two", "tset", r"'.*two' has no split 'tset'; did you mean 'test'\?; splits: train, test"),
        ("one", "test", r"source\.split: '.*one' has no splits; it is train"),
    ],
)
def test_missing_split_lists_available_splits(saved, name, split, message):
    with pytest.raises(UserError, match=message):
        read_texts(saved / name, split)


def test_incomplete_folder_is_rejected(saved):
    (saved / "two" / "test" / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(UserError, match=r"'.*two/test' lacks data-00000-of-00001\.arrow"):
        read_texts(saved / "two", "test")
    (saved / "one" / "state.json").write_text("{}")
    with pytest.raises(UserError, match=r"'.*one' is not whole \(KeyError: '_data_files'\)"):
        read_texts(saved / "one")


def test_file_names_outside_the_folder_are_not_followed(saved):
    state = {"_data_files": [{"filename": "../../secret.arrow"}], "_split": None}
    (saved / "one" / "state.json").write_text(json.dumps(state))
    with pytest.raises(UserError, match=r"'.*one' lacks secret\.arrow"):
        read_texts(saved / "one")
