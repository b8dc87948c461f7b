"""Find values that are valid alone and conflict with another block."""

from collections.abc import Iterator

from blossomtune.config.configuration import Configuration
from blossomtune.config.conflicts import Conflict, find_conflicts
from blossomtune.config.experiments import ExperimentSettings
from blossomtune.config.external_rules import find_external_conflicts
from blossomtune.config.federation import FederationSettings
from blossomtune.config.partitions import AnyPartition


def _find_mixture_members(
    configuration: Configuration, name: str, visited: frozenset[str] = frozenset()
) -> set[str]:
    """Return all data sets that one is mixed from, directly or not."""
    block = configuration.datasets.get(name)
    direct = set(getattr(block.source, "datasets", [])) - visited if block else set()
    return direct | {
        m for d in direct for m in _find_mixture_members(configuration, d, visited | direct)
    }


def find_cross_block_conflicts(configuration: Configuration) -> Iterator[str]:
    """Yield one message per conflict of two blocks."""
    for name in configuration.datasets:
        if name in _find_mixture_members(configuration, name):
            yield f"datasets.{name}.source.datasets: {name!r} would be mixed from itself"
    for name, partition in configuration.partitions.items():
        data = configuration.datasets.get(partition.dataset)
        if data is None:
            continue
        is_local = partition.partitioner == "local"
        if is_local and data.source.kind == "mixture":
            yield (
                f"partitions.{name}.dataset: {partition.dataset!r} is a mixture, and a mixture is "
                "made of pooled rows; partitioner local needs a data set that says how files "
                "are read"
            )
        if not is_local and data.test.size == "all" and data.test.source is None:
            yield (
                f"partitions.{name}.dataset: {partition.dataset!r} has test.size: all, so there "
                "are no rows to train on; only partitioner local can do without"
            )
    for name, experiment in configuration.experiments.items():
        if experiment.partition in configuration.partitions:
            partition = configuration.partitions[experiment.partition]
            for key, reason in _find_experiment_conflicts(experiment, partition):
                yield f"experiments.{name}.{key}: {reason}"
    yield from _find_shared_repositories(configuration)


def _find_shared_repositories(configuration: Configuration) -> Iterator[str]:
    """Yield a message per experiment that would overwrite what another one publishes."""
    owners: dict[tuple[str, str], str] = {}
    for name, experiment in configuration.experiments.items():
        if (block := experiment.publish) is not None:
            owner = owners.setdefault((block.repo, block.revision), name)
            if owner != name:
                yield (
                    f"experiments.{name}.publish: {owner!r} has the same repository {block.repo} "
                    f"and branch {block.revision}; give one of them another repo or revision"
                )


def find_participation_conflicts(
    federation: FederationSettings, num_clients: int
) -> Iterator[Conflict]:
    """Yield numbers of clients that can never be reached.

    Args:
        federation: The experiment's federation block.
        num_clients: Number of clients of its partition.

    Yields:
        Key below the experiment, and a message.
    """
    sampled = federation.count_sampled_clients(num_clients)
    if federation.min_clients > sampled:
        yield (
            "federation.min_clients",
            f"{federation.min_clients} can never be reached; fraction_train "
            f"{federation.fraction_train} of {num_clients} clients is {sampled} a round",
        )
    if (federation.min_available_clients or 0) > num_clients:
        yield (
            "federation.min_available_clients",
            f"{federation.min_available_clients} can never be reached; the partition has "
            f"{num_clients} clients",
        )


def _find_experiment_conflicts(
    experiment: ExperimentSettings, partition: AnyPartition
) -> Iterator[Conflict]:
    num_clients = partition.num_partitions
    yield from find_conflicts(experiment, num_clients, bool(partition.validation_size))
    yield from find_external_conflicts(experiment, partition)
    yield from find_participation_conflicts(experiment.federation, num_clients)
