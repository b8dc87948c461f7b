"""What a user may say, as a whole; every part has its block and all defaults in a file here.

``config/README.md`` explains the keys to people, ``config/schema.json`` to editors; both are
kept in step with these files by tests.
"""

from typing import Annotated

from pydantic import AfterValidator, Field

from blossomtune.config.base import Block, Name, NonEmptyStr, NonNegativeInt, require_unique
from blossomtune.config.datasets import DatasetSettings
from blossomtune.config.engines import BUILT_IMAGE
from blossomtune.config.experiments import ExperimentSettings
from blossomtune.config.partitions import AnyPartition
from blossomtune.config.preprocessing import PreprocessingSettings
from blossomtune.config.sources import ModelSettings


class ContainerSettings(Block):
    """The image that every stage runs in under `--use-singularity`."""

    image: NonEmptyStr = Field(
        BUILT_IMAGE,
        description="This path is built from containers/blossomtune.def; else docker://… or a SIF.",
    )
    base: NonEmptyStr = Field(
        "docker://python:3.11-slim",
        description="What the image is built on: docker://… or a folder.",
    )


class ReportSettings(Block):
    """What the report says of itself."""

    title: NonEmptyStr = "Federated fine-tuning"
    description: str = ""


class Configuration(Block):
    """Everything a user may say; see config/README.md."""

    seed: NonNegativeInt = 42
    run: Annotated[list[Name], AfterValidator(require_unique)] = Field(
        description="Experiments to build.", min_length=1
    )
    container: ContainerSettings = ContainerSettings()
    models: dict[Name, ModelSettings] = {}
    datasets: dict[Name, DatasetSettings] = {}
    partitions: dict[Name, AnyPartition] = {}
    preprocessing: dict[Name, PreprocessingSettings] = {}
    experiments: dict[Name, ExperimentSettings] = {}
    report: ReportSettings = ReportSettings()
