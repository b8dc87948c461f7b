"""Define the whole configuration; its sections are in the other modules.

``docs/configuration.md`` is generated from them and describes every key.
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
from blossomtune.config.tracking import Trackers


class ContainerSettings(Block):
    """The image in which every stage runs under `--use-singularity`."""

    image: NonEmptyStr = Field(
        BUILT_IMAGE,
        description="With the default path, the image is built from "
        "`containers/blossomtune.def`. Any other value names an existing image: `docker://…` or "
        "the path of a SIF file.",
    )
    base: NonEmptyStr = Field(
        "docker://python:3.11-slim",
        description="Base of the built image: `docker://…`, or a folder with a root file "
        "system that has Python 3.11 or newer and its `venv` module.",
    )


class ReportSettings(Block):
    """Title and text of the report page."""

    title: NonEmptyStr = Field("Federated fine-tuning", description="Title of the report.")
    description: str = Field("", description="A few sentences under the title.")


class Configuration(Block):
    """The whole configuration."""

    seed: NonNegativeInt = Field(
        42,
        description="Every random choice derives from it: test split, shuffling, initial "
        "adapter, client sampling, row order, sampled evaluation rows. A change reruns "
        "everything but fetch_model and the benchmarks of base models.",
    )
    run: Annotated[list[Name], AfterValidator(require_unique)] = Field(
        description="Experiments to build and to report on: at least one, none twice. Other "
        "experiments may stay in the file.",
        min_length=1,
    )
    container: ContainerSettings = Field(
        ContainerSettings(), description="Image for `--use-singularity`."
    )
    models: dict[Name, ModelSettings] = Field({}, description="Base models.")
    datasets: dict[Name, DatasetSettings] = Field({}, description="Data sets.")
    partitions: dict[Name, AnyPartition] = Field(
        {}, description="Assignments of training rows to clients."
    )
    preprocessing: dict[Name, PreprocessingSettings] = Field(
        {}, description="Conversions of rows to token ids."
    )
    experiments: dict[Name, ExperimentSettings] = Field(
        {}, description="Federated fine-tuning runs."
    )
    tracking: Trackers = Field(
        [],
        description="Where the metrics of all rounds and clients are logged, one name or a list: "
        "[watching a run](watching.md#trackers). They stay on this machine unless its environment "
        "names a server. A change reruns track alone; what is trained stays.",
    )
    report: ReportSettings = Field(ReportSettings(), description="Texts of the report.")
