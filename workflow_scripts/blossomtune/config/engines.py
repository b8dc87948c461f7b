"""Blocks of engines: where SuperLink and SuperNodes run."""

from typing import Annotated, Literal, get_args

from pydantic import Field

from blossomtune.config.base import NUMBER, Above0, Block, Count, Text, named

BUILT = "results/containers/blossomtune.sif"
"""The image that the workflow builds for itself."""


class Simulation(Block):
    """All clients in a few worker processes of this machine (Flower's simulation)."""

    name: Literal["simulation"] = "simulation"


class Process(Block):
    """A SuperLink and a SuperNode a client, as processes of this machine."""

    name: Literal["process"]


class Docker(Block):
    """A SuperLink and a SuperNode a client, each in a container of its own."""

    name: Literal["docker"]
    image: Text = Field("blossomtune", description="Built from containers/Dockerfile.")
    memory_mb: Count | None = Field(None, description="That a SuperNode may use; all there is.")
    cpus: Above0 | None = Field(None, description="That a SuperNode may use; all there are.")


class Apptainer(Block):
    """A SuperLink and a SuperNode a client, each in a container of Apptainer."""

    name: Literal["apptainer"]
    image: Text = Field(BUILT, description="This path is built by the workflow; else another SIF.")


class Slurm(Apptainer):
    """As apptainer, with the SuperNodes on all nodes of the job that federate is."""

    name: Literal["slurm"]
    nodes: Count = Field(1, description="Of the job; the SuperNodes are spread over them.")


class External(Block):
    """A SuperLink here, and SuperNodes that other organisations run where their rows are."""

    name: Literal["external"]
    host: Text = Field(description="Name or address of this machine, as SuperNodes reach it.")
    port: Annotated[int, Field(ge=1, le=65535), NUMBER] = Field(
        9092, description="That the SuperLink listens on."
    )
    keys: Text = Field(
        "keys", description="Folder of the authority, the certificate and the clients' keys."
    )


AnyEngine = Annotated[
    Simulation | Process | Docker | Apptainer | Slurm | External, Field(discriminator="name")
]

ENGINES = {
    get_args(block.model_fields["name"].annotation)[0]: block
    for block in get_args(get_args(AnyEngine)[0])
}
"""Every engine's block by its name."""

Engine = Annotated[AnyEngine, named(AnyEngine, ENGINES)]


def on_host(engine: AnyEngine) -> bool:
    """Whether the engine starts containers, which cannot be done from within one."""
    return isinstance(engine, Docker | Apptainer)
