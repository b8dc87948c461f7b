"""Describe rows that occur twice: in held-out and training rows, or among training rows."""

from collections.abc import Sequence

from blossomtune.artifacts.leaks import DuplicateCounts
from blossomtune.reporting import formatting
from blossomtune.reporting.load import ExperimentResults


def describe_leaked_examples(e: ExperimentResults) -> str:
    """Return how many held-out examples occur in training rows: "nine of them are …, too"."""
    share = "all" if e.num_leaked == e.federated.rows else formatting.spell_number(e.num_leaked)
    verb = "is" if e.num_leaked == 1 else "are"
    return f"{share} of them {verb} in the training rows, too, exactly or nearly"


def describe_duplicates(e: ExperimentResults) -> str:
    """Return sentences on the training rows that occur elsewhere, too."""
    clients = e.leaks.clients
    kinds = [
        (_add([c.held_out for c in clients]), "equal a held-out row"),
        (_add([c.other_clients for c in clients]), "equal another client’s"),
        (_add([c.own for c in clients]), "equal an earlier row of the same client"),
    ]
    parts = [
        f"{formatting.format_count(counts.total)} {kind} ({_describe_counts(counts)})"
        for counts, kind in kinds
        if counts.total
    ]
    sentences = []
    if clients:
        listed = formatting.join_list(parts)
        sentences.append(f"Of the training rows, {listed or 'none occurs a second time'}.")
    if e.partition.has_external_clients:
        sentences.append("Rows that stay with clients elsewhere are not compared with others.")
    return " ".join(sentences)


def has_duplicates(e: ExperimentResults) -> bool:
    """Return whether a training row occurs elsewhere, too."""
    return any(c.held_out.total + c.other_clients.total + c.own.total for c in e.leaks.clients)


def _add(counts: Sequence[DuplicateCounts]) -> DuplicateCounts:
    return DuplicateCounts(exact=sum(c.exact for c in counts), near=sum(c.near for c in counts))


def _describe_counts(counts: DuplicateCounts) -> str:
    kinds = [(counts.exact, "exactly"), (counts.near, "nearly")]
    return formatting.join_list(
        [f"{formatting.format_count(size)} {kind}" for size, kind in kinds if size]
    )
