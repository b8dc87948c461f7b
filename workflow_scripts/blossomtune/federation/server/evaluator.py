"""The server's model: it gives the adapter its beginning, and scores it while training."""

import torch

from blossomtune.artifacts.round_record import ServerEvaluation
from blossomtune.federation.messages.base_deltas import BaseDeltas
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.spec import FederationSpec
from blossomtune.modeling.eval_loss import ServerEvalSet
from blossomtune.modeling.load import load_model
from blossomtune.modeling.tokenizer import get_pad_token_id, load_tokenizer
from blossomtune.named_tensors import StateDict
from blossomtune.training import adapter


class ServerEvaluator:
    """Scores global adapters on a fixed sample of held-out rows.

    Attributes:
        initial: the adapter that the first round starts from.
    """

    def __init__(self, spec: FederationSpec, paths: ClientPaths, cores: int) -> None:
        self._num_threads = cores
        self._eval_set = ServerEvalSet(paths.preprocessed, spec.federation.evaluate_rows, spec.seed)
        self._pad_token_id = get_pad_token_id(load_tokenizer(paths.model))
        self._model = adapter.build_peft_model(load_model(paths.model), spec.lora, spec.seed)
        self._applied_rounds: set[int] = set()
        self.initial_state = adapter.get_adapter_state(self._model)
        adapter.require_linear_layers(self.initial_state, spec.lora, spec.federation.aggregation)

    def evaluate(self, state: StateDict, base_deltas: BaseDeltas) -> ServerEvaluation | None:
        """Loss and perplexity with an adapter, and what was added to the base until then.

        Args:
            state: the global adapter.
            folded: by round; rounds that were added here before are not added again.
        """
        if not self._eval_set.rows:
            return None
        torch.set_num_threads(self._num_threads)  # nobody trains meanwhile
        for number in sorted(base_deltas.keys() - self._applied_rounds):
            adapter.apply_base_delta(self._model, base_deltas[number])
        self._applied_rounds |= base_deltas.keys()
        adapter.set_adapter_state(self._model, state)
        return self._eval_set.evaluate(self._model, self._pad_token_id)
