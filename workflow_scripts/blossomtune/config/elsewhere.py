"""What an experiment cannot ask for where the clients' rows are not on this machine."""

from collections.abc import Iterator

from blossomtune.config.adapters import ColumnRanks
from blossomtune.config.combinations import Fault
from blossomtune.config.experiments import Experiment
from blossomtune.config.partitions import Partition


def out_of_reach(e: Experiment, partition: Partition) -> Iterator[Fault]:
    """What does not go with where the rows are.

    Args:
        e: the experiment.
        partition: the one that it names.

    Yields:
        The key below the experiment, and a sentence.
    """
    engine = e.federation.engine.name
    if not partition.elsewhere:
        if engine == "external":
            yield (
                "federation.engine",
                f"external is for clients that keep their rows, and those of {e.partition!r} are "
                "here; use partitioner local with a list of clients, or another engine",
            )
        return
    if engine != "external":
        yield (
            "federation.engine",
            f"{engine} trains on rows that are here, and the clients of {e.partition!r} keep "
            "theirs; use engine external, or give paths instead of clients",
        )
    for name in ("centralised", "local"):
        if getattr(e.controls, name):
            yield f"controls.{name}", "it would need the clients' rows, which stay with them"
    if e.federation.client_weights == "held":
        yield (
            "federation.client_weights",
            "how many rows the clients hold is not known here; use trained",
        )
    if isinstance(e.lora.ranks, ColumnRanks):
        yield "lora.ranks", "there are no rows here to look at; use a list, a rank a client"
