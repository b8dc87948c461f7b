"""Find settings that conflict with clients that keep their rows (engine external)."""

from collections.abc import Iterator

from blossomtune.config.conflicts import Conflict
from blossomtune.config.experiments import ExperimentSettings
from blossomtune.config.lora import ColumnRanks
from blossomtune.config.partitions import Partition


def find_external_conflicts(
    experiment: ExperimentSettings, partition: Partition
) -> Iterator[Conflict]:
    """Yield conflicts of an experiment with the place of the clients' rows.

    Args:
        experiment: The experiment.
        partition: The partition that it names.

    Yields:
        Key below the experiment, and a message with the reason and an alternative.
    """
    engine = experiment.federation.engine.name
    if not partition.is_external:
        if engine == "external":
            yield (
                "federation.engine",
                "external is for clients that keep their rows, and those of "
                f"{experiment.partition!r} are here; use partitioner local with a list of clients, "
                "or another engine",
            )
        return
    if engine != "external":
        yield (
            "federation.engine",
            f"{engine} trains on rows that are here, and the clients of "
            f"{experiment.partition!r} keep theirs; use engine external, or give paths instead of "
            "clients",
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
