"""The server's own measure of progress: the loss on a few held-out rows."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from blossomtune.modeling import collate, completion_nll
from blossomtune.seeds import derive


class HeldOut:
    """A fixed sample of the test rows.

    Args:
        preprocessed: the directory with test.arrow.
        rows: how many to take; fewer where there are fewer.
        seed: the configuration's seed.
    """

    def __init__(self, preprocessed: Path, rows: int, seed: int) -> None:
        test = Dataset.from_file(str(preprocessed / "test.arrow"))
        generator = np.random.default_rng(derive(seed, "server evaluation"))
        chosen = generator.permutation(len(test))[:rows]
        self.rows = sorted(test.select(chosen), key=lambda row: len(row["input_ids"]))

    @torch.inference_mode()
    def score(self, model: Any, pad: int, batch_size: int = 16) -> dict[str, float]:
        """Loss in nats a completion token, its perplexity, and the number of rows."""
        model.eval()
        nll = tokens = 0.0
        for start in range(0, len(self.rows), batch_size):
            batch = collate(self.rows[start : start + batch_size], pad)
            sums, counts = completion_nll(model, {k: v.to(model.device) for k, v in batch.items()})
            nll, tokens = nll + float(sums.sum()), tokens + int(counts.sum())
        loss = nll / tokens
        return {
            "loss": round(loss, 6),
            "perplexity": round(math.exp(loss), 6),
            "rows": len(self.rows),
        }
