"""The partition step; reference: Flower Datasets shuffles, assigns and writes the same rows.

Flower's files have no checksums, no counts of labels and words, and a faster, weaker compression.
Both sides start a new Python. As a program, ``bench_partition.py DATASET CLIENTS FOLDER`` is the
reference.
"""

import json
import sys
import tempfile
from pathlib import Path

from measurement import SCRIPTS, Measurement, time_program

ROWS, REPEATS = 200_000, 3


def partition() -> Measurement:
    """Measure 200,000 rows of 200 characters, assigned to 10 clients."""
    return _measure(10)


def partition_thousand() -> Measurement:
    """Measure 200,000 rows of 200 characters, assigned to 1,000 clients."""
    return _measure(1000)


def _measure(clients: int) -> Measurement:
    config = {"partitioner": "iid", "num_partitions": clients, "label_column": None}
    config |= {"min_rows": 1, "validation_size": 0, "test_size": 0, "seed": 1}
    with tempfile.TemporaryDirectory() as folder:
        dataset, ours, reference = Path(folder, "dataset"), [], []
        _write_dataset(dataset)
        for i in range(REPEATS):
            outputs = Path(folder, f"ours {i}"), Path(folder, f"reference {i}")
            options = ["--config", json.dumps(config), "--dataset", dataset, "--output", outputs[0]]
            ours.append(time_program(SCRIPTS / "partition.py", *options))
            quiet = {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
            reference.append(time_program(__file__, dataset, clients, outputs[1], **quiet))
    name = f"partition / flwr_datasets alone, {clients} clients"
    return Measurement(name, ROWS / min(ours), ROWS / min(reference), "rows/s", target=0.8)


def _write_dataset(folder: Path) -> None:
    """Write a data set of random words as the download step does."""
    import numpy as np
    import pyarrow as pa
    from artifact_samples import dataset_manifest
    from pyarrow import parquet

    from blossomtune.artifacts.checksums import write_checksums
    from blossomtune.artifacts.files import write_artifact

    rng = np.random.default_rng(0)
    letters = rng.integers(97, 123, (2000, 5), dtype=np.uint8)
    words = [bytes(word[: 2 + i % 4]).decode() for i, word in enumerate(letters)]
    texts = [" ".join(words[i] for i in row)[:200] for row in rng.integers(0, 2000, (ROWS, 48))]
    table = pa.table({"text": texts, "label": rng.integers(0, 10, ROWS).astype(str)})
    folder.mkdir()
    parquet.write_table(table, folder / "train.parquet", compression="zstd", row_group_size=10_000)
    manifest = dataset_manifest(stratify_by="label", columns=table.column_names)
    write_artifact(folder / "manifest.json", manifest)
    write_checksums(folder, "download")


def _partition_with_flower(dataset: Path, clients: int, folder: Path) -> None:
    """Partition as a user of Flower Datasets does; FederatedDataset shuffles by default, too."""
    from datasets import Dataset
    from flwr_datasets.partitioner import IidPartitioner

    folder.mkdir()
    rows = Dataset.from_parquet(str(dataset / "train.parquet"), cache_dir=str(folder / "cache"))
    partitioner = IidPartitioner(clients)
    partitioner.dataset = rows.shuffle(seed=1)
    for i in range(clients):
        partitioner.load_partition(i).to_parquet(folder / f"client_{i}.parquet")


if __name__ == "__main__":
    _partition_with_flower(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
