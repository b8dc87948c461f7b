"""plan.json: memory, disk and time that a run needs. No stage reads it."""

from typing import Literal

from blossomtune.artifacts.base import Artifact, Part


class MemoryPart(Part):
    """One part of a sum of memory.

    Attributes:
        part: name, such as ``base weights``.
        size: bytes of one of it.
        count: how many of it exist at once.
    """

    part: str
    size: int
    count: int = 1

    @property
    def total(self) -> int:
        """Bytes of all."""
        return self.size * self.count


class StageNeeds(Part):
    """Needs of one job. Sizes are in bytes; None is unknown.

    Attributes:
        stage: the stage.
        block: name of the experiment, model, data set or other block.
        ram: parts of the main memory that exist at once; None if it is unknown.
        gpu: parts of the memory of one GPU; empty if the stage uses none.
        disk: size of the results.
        seconds: least and most seconds of the job.
        basis: ``measured`` of a finished job or by a step, else ``estimated``.
        problems: why the job cannot run, one text per kind of memory.
    """

    stage: str
    block: str
    ram: tuple[MemoryPart, ...] | None
    gpu: tuple[MemoryPart, ...] = ()
    disk: int | None = None
    seconds: tuple[float, float] | None = None
    basis: Literal["measured", "estimated"] = "estimated"
    problems: tuple[str, ...] = ()


class Machine(Part):
    """Memory of the machine in bytes.

    Attributes:
        ram: free main memory.
        gpus: memory of each GPU.
        disk: free space for results.
    """

    ram: int
    gpus: list[int]
    disk: int


class Download(Part):
    """Model or data set that is downloaded.

    Attributes:
        section: section of its block, ``models`` or ``datasets``.
        block: name of its block.
        size: bytes of the download; None if the source does not tell.
    """

    section: str
    block: str
    size: int | None


class Downloads(Artifact):
    """Downloads of a run, before they start.

    Attributes:
        downloads: the models and data sets that were not fetched yet.
    """

    downloads: list[Download]


class Plan(Artifact):
    """Needs of all jobs of a run.

    Attributes:
        machine: the machine that the plan was made on.
        stages: needs of each job, in the order of the workflow.
    """

    machine: Machine
    stages: list[StageNeeds]
