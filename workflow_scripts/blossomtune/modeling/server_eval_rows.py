"""Which of the test rows the server looks at while it trains."""

import numpy as np

from blossomtune.seeds import derive_seed


def select_server_eval_rows(seed: int, num_rows: int, max_rows: int) -> list[int]:
    """The rows that the server scores after its rounds.

    Where their loss decides when training ends or which round is the result, they are no longer
    rows that nobody has seen, and the evaluation leaves them out.

    Args:
        seed: the configuration's seed.
        rows: how many test rows there are.
        count: how many the server looks at; fewer where there are fewer.

    Returns:
        Positions in test.arrow, in the order in which they were drawn.
    """
    drawn = np.random.default_rng(derive_seed(seed, "server evaluation")).permutation(num_rows)
    return drawn[:max_rows].tolist()
