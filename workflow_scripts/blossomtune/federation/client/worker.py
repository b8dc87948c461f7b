"""Keep the model and the rows of clients in memory from round to round."""

import gc
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from blossomtune.federation.messages.base_deltas import BaseDeltas
from blossomtune.federation.run import FederatedRun
from blossomtune.modeling.devices import limit_memory
from blossomtune.modeling.load import load_model, parse_dtype
from blossomtune.modeling.tokenizer import load_tokenizer
from blossomtune.training import adapter
from blossomtune.training.base_updates import BaseUpdates
from blossomtune.training.initial_adapter import restore_precision
from blossomtune.training.preflight import check_model


class Worker:
    """Model in memory that trains for one client after another.

    Args:
        run: The federation.

    Attributes:
        tokenizer: The model's tokenizer.
        initial_state: The initial adapter at the server's rank.
    """

    def __init__(self, run: FederatedRun) -> None:
        torch.set_num_threads(run.spec.federation.threads_per_client)
        # leave the memory of clients on the same GPU alone
        limit_memory(torch.device(run.resources.device), min(1.0, run.resources.gpus_per_client))
        self._run, self._is_checked = run, False
        self.tokenizer = load_tokenizer(run.paths.model)
        self._load_model()
        gc.freeze()  # trainers collect garbage twice per round, and these objects stay

    def _load_model(self) -> None:
        run = self._run
        training = run.spec.training
        model = load_model(
            run.paths.model,
            parse_dtype(training.base_dtype),
            training.quantization,
            run.resources.device,
            max(1, int(run.resources.gpus_per_client)),
        )
        self._attach_adapter(model, run.spec.lora.r)
        restore_precision(self._model, run.paths.model, run.spec.lora, run.spec.seed)
        self.initial_state = adapter.get_adapter_state(self._model)
        self._base_updates = BaseUpdates(self._model)

    def _attach_adapter(self, base: Any, rank: int) -> None:
        spec = self._run.spec
        self._model = adapter.build_peft_model(base, spec.lora, spec.seed, rank)
        self._rank = rank

    def check_model(self, client: int) -> None:
        """Check the model on a few tokens, if the server does not: it loads none without rows.

        Args:
            client: Client whose rows show if they are packed.

        Raises:
            UserError: If the adapter would learn something else on this model.
        """
        run = self._run
        if self._is_checked or run.spec.federation.evaluate_rows:
            return
        rows = load_client_rows(run.paths.preprocessed, client)
        check_model(self._model, run.spec.lora, packing="seq_lengths" in rows.column_names)
        self._is_checked = True

    def prepare_model(self, rank: int, base_deltas: BaseDeltas) -> Any:
        """Prepare the PEFT model: an adapter of a rank on an updated base.

        Updates are added in the order of their rounds, one after another. So the sum has the same
        bits for each sequence of calls.

        Args:
            rank: Rank of the adapter.
            base_deltas: All updates of the base weights so far.

        Returns:
            The model. It is the same object in each call with the same rank.
        """
        rounds = sorted(base_deltas)
        applied = self._base_updates.rounds
        if applied != rounds[: len(applied)]:
            self._load_model()
        if self._rank != rank:
            self._attach_adapter(self._model.unload(), rank)
            self._base_updates.replace_model(self._model)
        self._base_updates.apply(base_deltas)
        return self._model


@lru_cache(maxsize=1)
def get_worker(run: FederatedRun) -> Worker:
    """Return this process's worker, which loads its model once."""
    return Worker(run)


@lru_cache(maxsize=64)
def load_client_rows(preprocessed: Path, client: int, suffix: str = "") -> Dataset:
    """Load a client's tokenized rows, memory-mapped.

    Args:
        preprocessed: Directory of the tokenized rows.
        client: The client's number.
        suffix: ``.validation`` for the client's validation rows.

    Returns:
        Rows with ``input_ids`` and ``labels``.
    """
    return Dataset.from_file(str(preprocessed / f"client_{client}{suffix}.arrow"))


def forget_inputs() -> None:
    """Free the model and the rows in memory; the next call reads their files again."""
    get_worker.cache_clear()
    load_client_rows.cache_clear()
