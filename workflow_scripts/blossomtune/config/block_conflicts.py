"""TODO docstring."""

from collections.abc import Iterable
from itertools import chain

from blossomtune.config.configuration import Configuration
from blossomtune.config.conflicts import find_conflicts
from blossomtune.config.external_rules import find_external_conflicts


def _find_mixture_members(
    configuration: Configuration, name: str, seen: frozenset[str] = frozenset()
) -> set[str]:
    """All data sets that one is mixed from, directly or not."""
    block = configuration.datasets.get(name)
    direct = set(getattr(block.source, "datasets", [])) - seen if block else set()
    return direct | {
        m for d in direct for m in _find_mixture_members(configuration, d, seen | direct)
    }


def _find_cross_block_conflicts(configuration: Configuration) -> Iterable[str]:
    """Faults of values of two blocks that are fine alone and wrong together."""
    for name in configuration.datasets:
        if name in _find_mixture_members(configuration, name):
            yield f"datasets.{name}.source.datasets: {name!r} would be mixed from itself"
    for name, cut in configuration.partitions.items():
        data, local = configuration.datasets.get(cut.dataset), cut.partitioner == "local"
        if data is None:
            continue
        if local and data.source.kind == "mixture":
            yield (
                f"partitions.{name}.dataset: {cut.dataset!r} is a mixture, and a mixture is made "
                "of pooled rows; partitioner local needs a data set that says how files are read"
            )
        if not local and data.test.size == "all" and data.test.source is None:
            yield (
                f"partitions.{name}.dataset: {cut.dataset!r} has test.size: all, so there are no "
                "rows to train on; only partitioner local can do without"
            )
    for name, e in configuration.experiments.items():
        partition = configuration.partitions.get(e.partition)
        if partition is None:
            continue
        clients = partition.num_partitions
        faults = find_conflicts(e, clients, bool(partition.validation_size))
        for key, why in chain(faults, find_external_conflicts(e, partition)):
            yield f"experiments.{name}.{key}: {why}"
        sampled = e.federation.count_sampled_clients(clients)
        if e.federation.min_clients > sampled:
            yield (
                f"experiments.{name}.federation.min_clients: {e.federation.min_clients} can never "
                f"be reached; fraction_train {e.federation.fraction_train} of "
                f"{clients} clients is {sampled} a round"
            )
