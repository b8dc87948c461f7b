"""Define the configuration of engines, which run SuperLink and SuperNodes."""

import ipaddress
from typing import Annotated, Literal, get_args

from pydantic import Field, StringConstraints, model_validator

from blossomtune.config.base import (
    REJECT_BOOL,
    Block,
    NonEmptyStr,
    PositiveFloat,
    PositiveInt,
    allow_name_shorthand,
    with_error_message,
)

BUILT_IMAGE = "results/containers/blossomtune.sif"
"""The image that the workflow builds for itself."""

RayAddress = Annotated[
    str,
    StringConstraints(pattern=r"^(auto|(ray://)?[^\s:/]+:[1-9]\d{0,4})$"),
    with_error_message("auto, or HOST:PORT or ray://HOST:PORT of the head of a Ray cluster"),
]


class SimulationEngine(Block):
    """Clients train in worker processes, by Flower's simulation.

    They are on this machine or on a [Ray cluster](deployment/ray.md).
    """

    name: Literal["simulation"] = "simulation"
    address: RayAddress | None = Field(
        None,
        description="Ray cluster whose nodes train: `HOST:PORT` of its head, `auto` for the one "
        "that this machine belongs to, or `ray://HOST:PORT` from outside. The default is this "
        "machine alone.",
    )


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


HostAndPort = Annotated[
    str,
    StringConstraints(pattern=r"^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.-]+):[0-9]{1,5}$"),
    with_error_message("a host and a port, as in superlink.example.org:8000"),
]


class FlowerEngine(Block):
    """A SuperLink that others run, and SuperNodes of Flower's own.

    [Flower's own programs](deployment/flower.md) are enough.
    """

    name: Literal["flower"]
    connection: NonEmptyStr | None = Field(
        None,
        description="SuperLink connection of Flower's own `config.toml`, as `flwr run` takes it. "
        "Give this or `address`.",
    )
    address: HostAndPort | None = Field(
        None, description="Address of the SuperLink, as in `superlink.example.org:8000`."
    )
    root_certificates: NonEmptyStr | None = Field(
        None,
        description="Certificate of the authority that issued the certificate of `address`. By "
        "default, the authorities that Python trusts.",
    )
    keys: NonEmptyStr | None = Field(
        None,
        description="Folder of the clients' public keys, `<client name>.pub`. They decide which "
        "node is which client. By default, the names decide that nodes were registered with.",
    )
    superexec_secret: NonEmptyStr | None = Field(
        None,
        description="File of the secret of a SuperLink that runs with `--isolation process`. The "
        "ServerApp then runs on this machine. By default, it runs where the SuperLink does.",
    )

    @model_validator(mode="after")
    def _require_one_superlink(self) -> "FlowerEngine":
        if (self.connection is None) == (self.address is None):
            raise ValueError(
                "engine flower needs a SuperLink: connection, a name in Flower's config.toml, or "
                "address, and not both"
            )
        if self.root_certificates and not self.address:
            raise ValueError(
                "root_certificates belongs to address; config.toml has those of a connection"
            )
        return self


AnyEngine = Annotated[
    SimulationEngine
    | ProcessEngine
    | DockerEngine
    | ApptainerEngine
    | SlurmEngine
    | ExternalEngine
    | FlowerEngine,
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


def is_loopback(address: str) -> bool:
    """Return whether an address of the form ``host:port`` is of this machine alone."""
    host = address.rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def trains_elsewhere(engine: AnyEngine) -> bool:
    """Return whether others run the clients, on hardware that this machine knows nothing of."""
    return isinstance(engine, ExternalEngine | FlowerEngine)
