"""Compute the loss on held-out rows between rounds."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from blossomtune.artifacts.round_record import ServerEvaluation
from blossomtune.modeling import prefix_sharing
from blossomtune.modeling.batches import iterate_batches
from blossomtune.modeling.loss import collate, completion_nll
from blossomtune.modeling.server_eval_rows import select_server_eval_rows

MAX_EXPONENT = 709
"""Largest whole number whose exponential is a float."""


class ServerEvalSet:
    """A fixed sample of the test rows.

    Args:
        preprocessed: Directory with test.arrow.
        num_rows: Number of rows to sample; all rows if there are fewer.
        seed: The configuration's seed.
    """

    def __init__(self, preprocessed: Path, num_rows: int, seed: int) -> None:
        test = Dataset.from_file(str(preprocessed / "test.arrow"))
        positions = select_server_eval_rows(seed, len(test), num_rows)
        self.rows = sorted(test.select(positions), key=lambda row: len(row["input_ids"]))

    def evaluate(self, model: Any) -> ServerEvaluation:
        """Return the loss and its perplexity on the sample.

        Args:
            model: A causal language model.

        Returns:
            Loss and perplexity, rounded to six decimals, and the number of rows.
        """
        loss = compute_eval_loss(model, self.rows)
        perplexity = math.exp(loss) if loss < MAX_EXPONENT else math.inf
        return ServerEvaluation(
            loss=round(loss, 6), perplexity=round(perplexity, 6), rows=len(self.rows)
        )


@torch.inference_mode()
def compute_eval_loss(model: Any, rows: Sequence[Mapping[str, Any]], batch_size: int = 16) -> float:
    """Return the mean loss of completions, in nats per token.

    Args:
        model: A causal language model; it is set to evaluation mode.
        rows: Tokenized rows with ``input_ids`` and ``labels``.
        batch_size: Largest number of rows per forward pass; fewer if they are long.

    Returns:
        Sum of losses divided by the number of completion tokens.
    """
    model.eval()
    share_prefix = prefix_sharing.is_supported(model)
    nll = tokens = 0.0
    widths = [(len(row["input_ids"]),) for row in rows]
    for positions in iterate_batches(range(len(rows)), widths, batch_size):
        batch = collate([rows[i] for i in positions], share_prefix=share_prefix)
        sums, counts = completion_nll(model, {k: v.to(model.device) for k, v in batch.items()})
        nll, tokens = nll + float(sums.sum()), tokens + int(counts.sum())
    return nll / tokens
