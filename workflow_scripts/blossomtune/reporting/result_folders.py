"""Folders that the stages of one experiment wrote."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ResultFolders:
    """Folders that the stages of one experiment wrote.

    Attributes:
        model: folder of the base model.
        dataset: folder of the data set.
        partition: folder of the partition.
        preprocessed: folder of the tokenized rows.
        adapter: folder of the adapter.
        merged: folder of the merged model.
    """

    model: Path
    dataset: Path
    partition: Path
    preprocessed: Path
    adapter: Path
    merged: Path

    @classmethod
    def find(cls, results: Path, configuration: dict[str, Any], name: str) -> "ResultFolders":
        """Return the folders of an experiment.

        Args:
            results: the workflow's results directory.
            configuration: the blocks that the run uses.
            name: name of the experiment.

        Returns:
            The folders, whether they exist or not.
        """
        block = configuration["experiments"][name]
        model, partition, preprocessing = block["model"], block["partition"], block["preprocessing"]
        experiment = results / "experiments" / name
        return cls(
            model=results / "models" / model,
            dataset=results / "datasets" / configuration["partitions"][partition]["dataset"],
            partition=results / "partitions" / partition,
            preprocessed=results / "preprocessed" / partition / preprocessing / model,
            adapter=experiment / "adapter",
            merged=experiment / "merged",
        )
