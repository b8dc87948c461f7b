"""Partitions against Flower Datasets alone: the same rows shuffled, dealt out evenly and written.

Flower's files have no checksums beside them, no counts of labels and words, and a faster, weaker
compression. Both sides start a new Python.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "workflow_scripts"
sys.path += [str(SCRIPTS), str(ROOT / "tests")]
ROWS = 200_000


def partition() -> dict:
    """200,000 rows of 200 characters among 10 clients."""
    return _measure(10)


def partition_thousand() -> dict:
    """200,000 rows of 200 characters among 1,000 clients."""
    return _measure(1000)


def _measure(clients: int) -> dict:
    config = {"partitioner": "iid", "num_partitions": clients, "label_column": None}
    config |= {"min_rows": 1, "validation_size": 0, "test_size": 0, "seed": 1}
    with tempfile.TemporaryDirectory() as scratch:
        dataset, seconds = Path(scratch, "dataset"), {"ours": [], "other": []}
        _rows(dataset)
        for i in range(3):
            ours, other = Path(scratch, f"ours {i}"), Path(scratch, f"other {i}")
            options = ["--config", json.dumps(config), "--dataset", dataset, "--output", ours]
            seconds["ours"].append(_seconds(SCRIPTS / "partition.py", *options))
            seconds["other"].append(_seconds(__file__, dataset, clients, other))
    speed = {side: ROWS / min(times) for side, times in seconds.items()}
    return {
        "name": f"partition / flwr_datasets alone, {clients} clients",
        "ours": round(speed["ours"]),
        "other": round(speed["other"]),
        "unit": "rows/s",
        "ratio": round(speed["ours"] / speed["other"], 3),
        "bound": 0.8,
    }


def _rows(folder: Path) -> None:
    """A data set of random words, as the download step writes it."""
    import numpy as np
    import pyarrow as pa
    from artifact_samples import dataset_manifest
    from pyarrow import parquet

    from blossomtune.artifacts.files import write_artifact

    random = np.random.default_rng(0)
    letters = random.integers(97, 123, (2000, 5), dtype=np.uint8)
    words = [bytes(word[: 2 + i % 4]).decode() for i, word in enumerate(letters)]
    texts = [" ".join(words[i] for i in row)[:200] for row in random.integers(0, 2000, (ROWS, 48))]
    table = pa.table({"text": texts, "label": random.integers(0, 10, ROWS).astype(str)})
    folder.mkdir()
    parquet.write_table(table, folder / "train.parquet", compression="zstd", row_group_size=10_000)
    manifest = dataset_manifest(stratify_by="label", columns=table.column_names)
    write_artifact(folder / "manifest.json", manifest)


def _seconds(*command: object) -> float:
    """Wall time of a Python program, from start to exit."""
    start = time.perf_counter()
    environment = os.environ | {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, *map(str, command)]
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def _flower_alone(dataset: Path, clients: int, folder: Path) -> None:
    """What a user of Flower Datasets writes; FederatedDataset shuffles by default, too."""
    from datasets import Dataset
    from flwr_datasets.partitioner import IidPartitioner

    folder.mkdir()
    rows = Dataset.from_parquet(str(dataset / "train.parquet"), cache_dir=str(folder / "cache"))
    partitioner = IidPartitioner(clients)
    partitioner.dataset = rows.shuffle(seed=1)
    for i in range(clients):
        partitioner.load_partition(i).to_parquet(folder / f"client_{i}.parquet")


if __name__ == "__main__":
    _flower_alone(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
