"""Counts of the leaks between held-out and training rows."""

from collections.abc import Sequence

import numpy as np

from blossomtune.artifacts.leaks import (
    ClientDuplicates,
    DuplicateCounts,
    LeakedRows,
    Leaks,
    Split,
)
from blossomtune.data.leaks.compare_rows import Matches, RowComparison
from blossomtune.data.leaks.near_duplicates import THRESHOLD
from blossomtune.data.leaks.shingles import SHINGLE_SIZE

HeldOutFile = tuple[int | None, Split]
"""Client, or None for the data set, and purpose of a file of held-out rows."""


def find_leaked_rows(
    comparison: RowComparison, held_out: Sequence[int], file: int
) -> dict[int, tuple[int, int]]:
    """Find the rows of a file that equal or nearly equal a held-out row.

    Args:
        comparison: the rows.
        held_out: indices of the files of held-out rows.
        file: index of a file of training rows.

    Returns:
        By index of the row, file and index of the first held-out row that it equals or nearly
        equals.
    """
    texts = comparison.count_files(held_out) > 0
    rows = np.flatnonzero(comparison.match_texts(file, texts).any)
    return dict(
        zip(rows.tolist(), comparison.find_first_matches(file, rows, held_out), strict=True)
    )


def count_leaks(
    comparison: RowComparison, held_out: Sequence[HeldOutFile], clients: Sequence[int]
) -> Leaks:
    """Count the duplicates of all rows.

    Args:
        comparison: the rows; files of held-out rows first, then one file per client.
        held_out: the files of held-out rows.
        clients: indices of the clients.

    Returns:
        Counts for the manifest.
    """
    training = range(len(held_out), len(held_out) + len(clients))
    held_out_texts = comparison.count_files(range(len(held_out))) > 0
    clients_per_text = comparison.count_files(training)
    duplicates = []
    for client, file in zip(clients, training, strict=True):
        other_texts = clients_per_text - comparison.count_files([file]) > 0
        duplicates.append(
            ClientDuplicates(
                client=client,
                held_out=_count(comparison.match_texts(file, held_out_texts)),
                other_clients=_count(comparison.match_texts(file, other_texts)),
                own=_count(comparison.match_earlier_rows(file)),
            )
        )
    leaked = []
    for file, (owner, split) in enumerate(held_out):
        matches = comparison.match_texts(file, clients_per_text > 0)
        exact, near = (np.flatnonzero(rows).tolist() for rows in (matches.exact, matches.near))
        leaked.append(LeakedRows(client=owner, split=split, exact=exact, near=near))
    return Leaks(
        shingle_size=SHINGLE_SIZE, threshold=THRESHOLD, clients=duplicates, held_out=leaked
    )


def _count(matches: Matches) -> DuplicateCounts:
    return DuplicateCounts(exact=int(matches.exact.sum()), near=int(matches.near.sum()))
