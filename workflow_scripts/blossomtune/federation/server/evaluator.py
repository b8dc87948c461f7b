"""Evaluate the global adapter on the server while training."""

from typing import Any

import torch

from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.round_record import ServerEvaluation
from blossomtune.artifacts.tokenized_manifest import TokenizedManifest
from blossomtune.federation.messages.base_deltas import BaseDeltas
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.spec import FederationSpec
from blossomtune.modeling.devices import empty_cache
from blossomtune.modeling.eval_loss import ServerEvalSet
from blossomtune.modeling.load import load_model, parse_dtype
from blossomtune.named_tensors import StateDict
from blossomtune.training import adapter
from blossomtune.training.base_updates import BaseUpdates
from blossomtune.training.preflight import check_model

CPU = torch.device("cpu")


class ServerEvaluator:
    """Model of the server and its fixed sample of test rows.

    Args:
        spec: What is trained.
        paths: Paths of the model and the tokenized rows.
        cores: Number of threads for an evaluation.
        device: Device to evaluate on. The model is there during an evaluation only.
    """

    def __init__(
        self, spec: FederationSpec, paths: ClientPaths, cores: int, device: torch.device = CPU
    ) -> None:
        self._spec, self._paths = spec, paths
        self._num_threads, self._device = cores, device
        self._eval_set = ServerEvalSet(paths.preprocessed, spec.federation.evaluate_rows, spec.seed)
        self._model: Any = None

    def load_model(self) -> None:
        """Load the base model, unless there are no rows to evaluate; clients check it then.

        Raises:
            UserError: If the adapter would learn something else on this model.
        """
        if not self._spec.federation.evaluate_rows or self._model is not None:
            return
        spec, paths = self._spec, self._paths
        base = load_model(paths.model, parse_dtype(spec.training.base_dtype))
        self._model = adapter.build_peft_model(base, spec.lora, spec.seed)
        self._base_updates = BaseUpdates(self._model)
        manifest = read_artifact(paths.preprocessed / "manifest.json", TokenizedManifest)
        check_model(self._model, spec.lora, packing=manifest.packing)

    def evaluate(self, state: StateDict, base_deltas: BaseDeltas) -> ServerEvaluation | None:
        """Evaluate an adapter.

        Args:
            state: The global adapter.
            base_deltas: All updates of the base weights so far, by round. Each is added to the
                model only once. Without one that was added, the model is loaded again.

        Returns:
            Loss and perplexity; None if there are no rows to evaluate.
        """
        if not self._eval_set.rows:
            return None
        self.load_model()
        if not self._base_updates.are_in(base_deltas):
            self._model = None
            self.load_model()
        torch.set_num_threads(self._num_threads)  # clients are not training now
        self._model.to(self._device)
        self._base_updates.apply(base_deltas)
        adapter.set_adapter_state(self._model, state)
        evaluation = self._eval_set.evaluate(self._model)
        self._model.to(CPU)
        empty_cache()  # clients need the memory
        return evaluation
