"""The server's model: it gives the adapter its beginning, and scores it while training."""

import torch

from blossomtune.encoding import load_tokenizer, pad_id
from blossomtune.federation import adapter
from blossomtune.federation.adapter import State
from blossomtune.federation.held_out import HeldOut
from blossomtune.federation.job import Job
from blossomtune.federation.naming import Folds
from blossomtune.modeling import load_model


class Judge:
    """Scores global adapters on a fixed sample of held-out rows.

    Attributes:
        initial: the adapter that the first round starts from.
    """

    def __init__(self, job: Job) -> None:
        self._cores = job.cores
        self._held_out = HeldOut(job.preprocessed, job.federation.evaluate_rows, job.seed)
        self._pad = pad_id(load_tokenizer(job.model))
        self._model = adapter.attach(load_model(job.model), job.lora, job.seed)
        self._folded: set[int] = set()
        self.initial = adapter.read(self._model)
        adapter.products_only(self.initial, job.lora, job.federation.aggregation)

    def score(self, state: State, folded: Folds) -> dict[str, float] | None:
        """Loss and perplexity with an adapter, and what was added to the base until then.

        Args:
            state: the global adapter.
            folded: by round; rounds that were added here before are not added again.
        """
        if not self._held_out.rows:
            return None
        torch.set_num_threads(self._cores)  # nobody trains meanwhile
        for number in sorted(folded.keys() - self._folded):
            adapter.fold(self._model, folded[number])
        self._folded |= folded.keys()
        adapter.write(self._model, state)
        return self._held_out.score(self._model, self._pad)
