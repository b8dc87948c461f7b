"""What an experiment cannot ask for where the clients' rows are not on this machine."""

from collections.abc import Iterator

from blossomtune.config.conflicts import Conflict
from blossomtune.config.experiments import ExperimentSettings
from blossomtune.config.lora import ColumnRanks
from blossomtune.config.partitions import Partition


def find_external_conflicts(
    experiment: ExperimentSettings, partition: Partition
) -> Iterator[Conflict]:
    """What does not go with where the rows are.

    Args:
        e: the experiment.
        partition: the one that it names.

    Yields:
        The key below the experiment, and a sentence.
    """
    engine = experiment.federation.engine.name
    if not partition.is_external:
        if engine == "external":
            yield (
                "federation.engine",
                f"external is for clients that keep their rows, and those of {experiment.partition!r} are "
                "here; use partitioner local with a list of clients, or another engine",
            )
        return
    if engine != "external":
        yield (
            "federation.engine",
            f"{engine} trains on rows that are here, and the clients of {experiment.partition!r} keep "
            "theirs; use engine external, or give paths instead of clients",
        )
    for name in ("centralised", "local"):
        if getattr(experiment.baselines, name):
            yield f"baselines.{name}", "it would need the clients' rows, which stay with them"
    if experiment.federation.client_weights == "held":
        yield (
            "federation.client_weights",
            "how many rows the clients hold is not known here; use trained",
        )
    if isinstance(experiment.lora.ranks, ColumnRanks):
        yield "lora.ranks", "there are no rows here to look at; use a list, a rank a client"
