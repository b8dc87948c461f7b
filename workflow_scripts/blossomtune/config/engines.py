"""Define the configuration of engines, which run SuperLink and SuperNodes."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from blossomtune.config.base import (
    REJECT_BOOL,
    Block,
    NonEmptyStr,
    PositiveFloat,
    PositiveInt,
    allow_name_shorthand,
)

BUILT_IMAGE = "results/containers/blossomtune.sif"
"""The image that the workflow builds for itself."""


class SimulationEngine(Block):
    """Clients train in worker processes of this machine, by Flower's simulation."""

    name: Literal["simulation"] = "simulation"


class ProcessEngine(Block):
    """One SuperLink, and one SuperNode per client, as processes of this machine."""

    name: Literal["process"]


class DockerEngine(Block):
    """One SuperLink, and one SuperNode per client, each in a Docker container."""

    name: Literal["docker"]
    image: NonEmptyStr = Field(
        "blossomtune",
        description="Image built from `containers/Dockerfile`. The workflow's code comes from "
        "the working directory.",
    )
    memory_mb: PositiveInt | None = Field(
        None, description="Memory limit of a SuperNode in MB. The default is no limit."
    )
    cpus: PositiveFloat | None = Field(
        None, description="CPU limit of a SuperNode. The default is no limit."
    )


class ApptainerEngine(Block):
    """One SuperLink, and one SuperNode per client, each in an Apptainer container."""

    name: Literal["apptainer"]
    image: NonEmptyStr = Field(
        BUILT_IMAGE,
        description="With the default path, the workflow builds the image. Any other value is "
        "the path of a SIF file.",
    )


class SlurmEngine(ApptainerEngine):
    """As `apptainer`, inside the Slurm job of federate, with the SuperNodes on all of its nodes."""

    name: Literal["slurm"]  # type: ignore[assignment]  # the discriminator of the union
    nodes: PositiveInt = Field(
        1, description="Nodes of the job. They share the file system of the working directory."
    )


class ExternalEngine(Block):
    """The SuperLink runs here.

    [Other organizations](deployment/other-organisations.md) run the SuperNodes.
    """

    name: Literal["external"]
    host: NonEmptyStr = Field(description="Name or address of this machine as SuperNodes reach it.")
    port: Annotated[int, Field(ge=1, le=65535), REJECT_BOOL] = Field(
        9092, description="Port of the SuperLink, on all addresses of this machine."
    )
    keys: NonEmptyStr = Field(
        "keys",
        description="Folder of the authority, the SuperLink's certificate and the clients' "
        "keys, made by `snakemake invite`.",
    )


AnyEngine = Annotated[
    SimulationEngine
    | ProcessEngine
    | DockerEngine
    | ApptainerEngine
    | SlurmEngine
    | ExternalEngine,
    Field(discriminator="name"),
]

ENGINES = {
    get_args(block.model_fields["name"].annotation)[0]: block
    for block in get_args(get_args(AnyEngine)[0])
}
"""Block of each engine by its name."""

Engine = Annotated[AnyEngine, allow_name_shorthand(AnyEngine, ENGINES)]


def starts_containers(engine: AnyEngine) -> bool:
    """Return whether the engine starts containers, which is impossible inside a container."""
    return isinstance(engine, DockerEngine | ApptainerEngine)
