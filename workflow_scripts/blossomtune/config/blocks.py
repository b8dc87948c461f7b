"""What a user may say, as a whole; every part has its block and all defaults in a file here.

``config/README.md`` explains the keys to people, ``config/schema.json`` to editors; both are
kept in step with these files by tests.
"""

from typing import Annotated

from pydantic import AfterValidator, Field

from blossomtune.config.base import Block, Name, Text, Whole, distinct
from blossomtune.config.dataset import Dataset
from blossomtune.config.engines import BUILT
from blossomtune.config.experiments import Experiment
from blossomtune.config.partitions import AnyPartition
from blossomtune.config.preprocessing import Preprocessing
from blossomtune.config.sources import Model


class Container(Block):
    """The image that every stage runs in under `--use-singularity`."""

    image: Text = Field(
        BUILT,
        description="This path is built from containers/blossomtune.def; else docker://… or a SIF.",
    )
    base: Text = Field(
        "docker://python:3.11-slim",
        description="What the image is built on: docker://… or a folder.",
    )


class Report(Block):
    """What the report says of itself."""

    title: Text = "Federated fine-tuning"
    description: str = ""


class Configuration(Block):
    """Everything a user may say; see config/README.md."""

    seed: Whole = 42
    run: Annotated[list[Name], AfterValidator(distinct)] = Field(
        description="Experiments to build.", min_length=1
    )
    container: Container = Container()
    models: dict[Name, Model] = {}
    datasets: dict[Name, Dataset] = {}
    partitions: dict[Name, AnyPartition] = {}
    preprocessing: dict[Name, Preprocessing] = {}
    experiments: dict[Name, Experiment] = {}
    report: Report = Report()
