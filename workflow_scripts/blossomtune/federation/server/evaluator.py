"""Evaluate the global adapter on the server while training."""

from typing import Any

import torch

from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.round_record import ServerEvaluation
from blossomtune.artifacts.tokenized_manifest import TokenizedManifest
from blossomtune.federation.messages.base_deltas import BaseDeltas
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.spec import FederationSpec
from blossomtune.modeling.eval_loss import ServerEvalSet
from blossomtune.modeling.load import load_model
from blossomtune.named_tensors import StateDict
from blossomtune.training import adapter
from blossomtune.training.preflight import check_model


class ServerEvaluator:
    """Model of the server and its fixed sample of test rows.

    Args:
        spec: What is trained.
        paths: Paths of the model and the tokenized rows.
        cores: Number of threads for an evaluation.
    """

    def __init__(self, spec: FederationSpec, paths: ClientPaths, cores: int) -> None:
        self._spec, self._paths, self._num_threads = spec, paths, cores
        self._eval_set = ServerEvalSet(paths.preprocessed, spec.federation.evaluate_rows, spec.seed)
        self._model: Any = None
        self._applied_rounds: set[int] = set()

    def load_model(self) -> None:
        """Load the base model, unless there are no rows to evaluate; clients check it then.

        Raises:
            UserError: If the adapter would learn something else on this model.
        """
        if not self._spec.federation.evaluate_rows or self._model is not None:
            return
        spec, paths = self._spec, self._paths
        self._model = adapter.build_peft_model(load_model(paths.model), spec.lora, spec.seed)
        manifest = read_artifact(paths.preprocessed / "manifest.json", TokenizedManifest)
        check_model(self._model, spec.lora, packing=manifest.packing)

    def evaluate(self, state: StateDict, base_deltas: BaseDeltas) -> ServerEvaluation | None:
        """Evaluate an adapter.

        Args:
            state: The global adapter.
            base_deltas: All updates of the base weights so far, by round. Each is added to the
                model only once.

        Returns:
            Loss and perplexity; None if there are no rows to evaluate.
        """
        if not self._eval_set.rows:
            return None
        self.load_model()
        torch.set_num_threads(self._num_threads)  # clients are not training now
        for number in sorted(base_deltas.keys() - self._applied_rounds):
            adapter.apply_base_delta(self._model, base_deltas[number])
        self._applied_rounds |= base_deltas.keys()
        adapter.set_adapter_state(self._model, state)
        return self._eval_set.evaluate(self._model)
