"""Tests of task files that differ in the data only."""

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from blossomtune.benchmarks.own_data import write_task_file


def test_task_file_includes_the_original_and_replaces_its_data(tmp_path):
    for name in ("train", "test"):
        pq.write_table(pa.table({"a": [1]}), tmp_path / f"{name}.parquet")
    write_task_file(tmp_path / "x.yaml", {"task": "x"}, tmp_path, tmp_path)
    definition = yaml.safe_load((tmp_path / "x.yaml").read_text())
    assert definition["include"] == str(tmp_path / "x.yaml")
    files = {name: str(tmp_path / f"{name}.parquet") for name in ("train", "test")}
    assert definition["dataset_kwargs"]["data_files"] == files
    assert definition["dataset_name"] is None
    assert definition["custom_dataset"] is None
    assert "fewshot_split" not in definition  # examples of its own, such as a list
