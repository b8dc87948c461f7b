"""Blocks of engines: where SuperLink and SuperNodes run."""

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
    """All clients in a few worker processes of this machine (Flower's simulation)."""

    name: Literal["simulation"] = "simulation"


class ProcessEngine(Block):
    """A SuperLink and a SuperNode a client, as processes of this machine."""

    name: Literal["process"]


class DockerEngine(Block):
    """A SuperLink and a SuperNode a client, each in a container of its own."""

    name: Literal["docker"]
    image: NonEmptyStr = Field("blossomtune", description="Built from containers/Dockerfile.")
    memory_mb: PositiveInt | None = Field(
        None, description="That a SuperNode may use; all there is."
    )
    cpus: PositiveFloat | None = Field(None, description="That a SuperNode may use; all there are.")


class ApptainerEngine(Block):
    """A SuperLink and a SuperNode a client, each in a container of Apptainer."""

    name: Literal["apptainer"]
    image: NonEmptyStr = Field(
        BUILT_IMAGE, description="This path is built by the workflow; else another SIF."
    )


class SlurmEngine(ApptainerEngine):
    """As apptainer, with the SuperNodes on all nodes of the job that federate is."""

    name: Literal["slurm"]
    nodes: PositiveInt = Field(1, description="Of the job; the SuperNodes are spread over them.")


class ExternalEngine(Block):
    """A SuperLink here, and SuperNodes that other organisations run where their rows are."""

    name: Literal["external"]
    host: NonEmptyStr = Field(
        description="Name or address of this machine, as SuperNodes reach it."
    )
    port: Annotated[int, Field(ge=1, le=65535), REJECT_BOOL] = Field(
        9092, description="That the SuperLink listens on."
    )
    keys: NonEmptyStr = Field(
        "keys", description="Folder of the authority, the certificate and the clients' keys."
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
"""Every engine's block by its name."""

Engine = Annotated[AnyEngine, allow_name_shorthand(AnyEngine, ENGINES)]


def starts_containers(engine: AnyEngine) -> bool:
    """Whether the engine starts containers, which cannot be done from within one."""
    return isinstance(engine, DockerEngine | ApptainerEngine)
