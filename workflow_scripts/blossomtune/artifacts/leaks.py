"""Duplicates between held-out and training rows, and among training rows."""

from typing import Literal

from blossomtune.artifacts.base import Part

Split = Literal["validation", "test"]
"""Purposes of held-out rows."""


class DuplicateCounts(Part):
    """Rows of a file that occur elsewhere.

    Attributes:
        exact: rows whose text is equal to one there, apart from letter case, punctuation, spaces
            and Unicode compatibility forms.
        near: other rows whose text is nearly equal to one there.
    """

    exact: int
    near: int

    @property
    def total(self) -> int:
        """Number of exact and near duplicates."""
        return self.exact + self.near


class ClientDuplicates(Part):
    """Duplicates among the training rows of one client.

    Attributes:
        client: index of the client.
        held_out: training rows that occur in held-out rows of any file.
        other_clients: training rows that occur in training rows of another client.
        own: training rows that occur in an earlier row of the same client.
    """

    client: int
    held_out: DuplicateCounts
    other_clients: DuplicateCounts
    own: DuplicateCounts


class LeakedRows(Part):
    """Held-out rows of one file that occur in training rows of any client.

    Attributes:
        client: index of the client that holds out the rows; None for the data set's test rows.
        split: the purpose of the rows.
        exact: indices of rows that are equal to a training row.
        near: indices of other rows that are nearly equal to a training row.
    """

    client: int | None
    split: Split
    exact: list[int]
    near: list[int]


class Leaks(Part):
    """Comparison of all held-out and training rows that are here.

    Attributes:
        shingle_size: characters per shingle, the parts by which texts are compared.
        threshold: Jaccard similarity of the shingle sets from which on texts are nearly equal.
        clients: one entry per local client, in order.
        held_out: one entry per file of held-out rows.
    """

    shingle_size: int
    threshold: float
    clients: list[ClientDuplicates]
    held_out: list[LeakedRows]

    @property
    def test_rows(self) -> list[int]:
        """Indices of the data set's test rows that occur in training rows, ascending."""
        return sorted(i for f in self.held_out if f.client is None for i in (*f.exact, *f.near))
