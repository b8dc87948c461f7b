"""Let a task read a data set of this workflow instead of its own data."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

TRAIN, TEST = "train", "test"


def write_task_file(
    task_file: Path, config: Mapping[str, Any], dataset: Path, scratch: Path
) -> None:
    """Write a task file that differs from another one in the data only.

    The rows of the test split are asked. Those of the training split are the solved examples; where
    there are none, other test rows are.

    Args:
        task_file: File of the task.
        config: Its content, with all that it includes.
        dataset: Folder of the data set.
        scratch: Folder to write to. Copies of the data that ``datasets`` makes go here, too.
    """
    files = {split: dataset / f"{split}.parquet" for split in (TRAIN, TEST)}
    if not pq.read_metadata(files[TRAIN]).num_rows:
        del files[TRAIN]
    definition = {
        "include": str(task_file),
        "task": config["task"],
        "dataset_path": "parquet",
        "dataset_name": None,
        "custom_dataset": None,
        "dataset_kwargs": {
            "data_files": {split: str(file.resolve()) for split, file in files.items()},
            "cache_dir": str(scratch / "cache"),
        },
        "training_split": TRAIN if TRAIN in files else None,
        "validation_split": None,
        "test_split": TEST,
    }
    if config.get("fewshot_split"):
        definition["fewshot_split"] = TRAIN if TRAIN in files else TEST
    file = scratch / f"{config['task']}.yaml"
    file.write_text(yaml.safe_dump(definition, allow_unicode=True), encoding="utf-8")
