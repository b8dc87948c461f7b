"""Tests of loading tasks with their data."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from blossomtune.benchmarks.load_tasks import load_benchmarks
from blossomtune.config.benchmarks import BenchmarkSettings
from blossomtune.errors import UserError

ROWS = [{"question": f"own {i}", "choices": ["a", "b"], "label": 1} for i in range(5)]


def load(task_folder, tmp_path, *benchmarks, datasets=()):
    """Load benchmarks, given as names or blocks."""
    blocks = [b if isinstance(b, dict) else {"task": b} for b in benchmarks]
    settings = [
        BenchmarkSettings(include_path=task_folder, **block).model_dump(mode="json")
        for block in blocks
    ]
    return load_benchmarks(settings, dict(datasets), tmp_path)[1]


@pytest.fixture
def dataset(tmp_path):
    """Return a function that writes a data set of this workflow; it returns the folder."""

    def write(train):
        folder = tmp_path / "dataset"
        folder.mkdir()
        pq.write_table(pa.Table.from_pylist(ROWS[:3]), folder / "test.parquet")
        table = pa.Table.from_pylist(ROWS[3:])
        pq.write_table(table if train else table.slice(0, 0), folder / "train.parquet")
        return folder

    return write


def test_chat_template_is_for_generated_text(task_folder, tmp_path):
    forced = {"task": "choose_again", "chat_template": True}
    loaded = load(task_folder, tmp_path, "choose", "write", forced)
    assert [benchmark.uses_chat_template for benchmark in loaded] == [False, True, True]


@pytest.mark.parametrize(("has_train", "split"), [(True, "train"), (False, "test")])
def test_data_set_replaces_the_data_of_a_task(task_folder, tmp_path, dataset, has_train, split):
    block = {"task": "write", "dataset": "own"}
    [loaded] = load(task_folder, tmp_path, block, datasets={"own": dataset(has_train)}.items())
    [task] = loaded.items
    assert [row["question"] for row in task.test_docs()] == ["own 0", "own 1", "own 2"]
    assert len(task.fewshot_docs()) == {"train": 2, "test": 3}[split]
    assert task.doc_to_text(task.test_docs()[0]) == "own 0 ="
    assert task.config.metadata["version"] == 2.0


def test_data_set_without_the_columns_of_the_task_is_an_error(task_folder, tmp_path):
    folder = tmp_path / "dataset"
    folder.mkdir()
    for name in ("train", "test"):
        pq.write_table(pa.table({"text": ["a"]}), folder / f"{name}.parquet")
    with pytest.raises(UserError, match="does the data set 'own' have the columns"):
        load(
            task_folder,
            tmp_path,
            {"task": "choose", "dataset": "own"},
            datasets={"own": folder}.items(),
        )


def test_task_of_two_benchmarks_is_an_error(task_folder, tmp_path):
    with pytest.raises(UserError, match="'choose' and 'both' both have the task 'choose'"):
        load(task_folder, tmp_path, "both", "choose")
