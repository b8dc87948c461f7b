"""Select the rows that a preview shows."""

import numpy as np
import numpy.typing as npt

MAX_ROWS = 10
"""Rows that a preview shows of each file."""


def select_rows(
    num_tokens: npt.ArrayLike, num_learnt: npt.ArrayLike, seed: int, max_rows: int = MAX_ROWS
) -> dict[int, str]:
    """Select the rows at the extremes, and others spread over the lengths.

    Args:
        num_tokens: Tokens per row.
        num_learnt: Tokens per row that contribute to the loss.
        seed: Seed of the draw.
        max_rows: Number of rows to select; all rows if there are fewer.

    Returns:
        Reason by position of the row, in order; empty for a row that was drawn: one from each of
        several equally large groups of rows of similar length.
    """
    order = np.argsort(num_tokens, kind="stable")
    if len(order) == 0:
        return {}
    reasons: dict[int, list[str]] = {}
    for values, low, high in (
        (np.asarray(num_tokens), "shortest", "longest"),
        (np.asarray(num_learnt), "fewest learnt tokens", "most learnt tokens"),
    ):
        if values.min() < values.max():
            reasons.setdefault(int(values.argmin()), []).append(low)
            reasons.setdefault(int(values.argmax()), []).append(high)
    others = [int(i) for i in order if i not in reasons]
    num_groups = min(max(max_rows - len(reasons), 0), len(others))
    random = np.random.default_rng(seed)
    for group in np.array_split(others, num_groups) if num_groups else []:
        reasons[int(random.choice(group))] = []
    return {i: ", ".join(reasons[i]) for i in sorted(reasons)}
