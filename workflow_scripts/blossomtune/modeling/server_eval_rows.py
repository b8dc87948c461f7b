"""Select the test rows that the server evaluates during training."""

import numpy as np

from blossomtune.seeds import derive_seed


def select_server_eval_rows(seed: int, num_rows: int, max_rows: int) -> list[int]:
    """Draw the test rows that the server scores between rounds.

    If their loss stops training or selects the result, the final evaluation leaves these rows out.

    Args:
        seed: The configuration's seed.
        num_rows: Number of test rows.
        max_rows: Number of rows to draw; all rows if there are fewer.

    Returns:
        Positions in test.arrow, in the order in which they were drawn.
    """
    random = np.random.default_rng(derive_seed(seed, "server evaluation"))
    return [int(row) for row in random.permutation(num_rows)[:max_rows]]
