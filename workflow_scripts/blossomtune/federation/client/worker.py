"""What a process that trains keeps from round to round: the model and the clients' data."""

import gc
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from blossomtune.federation.messages.base_deltas import BaseDeltas
from blossomtune.federation.run import FederatedRun
from blossomtune.modeling.load import load_model
from blossomtune.modeling.tokenizer import load_tokenizer
from blossomtune.training import adapter


class Worker:
    """One model in memory that becomes every client's in turn."""

    def __init__(self, run: FederatedRun) -> None:
        torch.set_num_threads(run.spec.federation.threads_per_client)
        if (
            run.resources.device == "cuda"
        ):  # so that nobody takes the memory of those it shares a GPU with
            torch.cuda.set_per_process_memory_fraction(run.resources.gpus_per_client)
        self.run = run
        self.tokenizer = load_tokenizer(run.paths.model)
        self._load_model()
        gc.freeze()  # trainers collect garbage twice a round, and all that is here stays

    def _load_model(self) -> None:
        run = self.run
        quantization = run.spec.training.quantization
        model = load_model(run.paths.model, quantization=quantization, device=run.resources.device)
        self._attach_adapter(model, run.spec.lora.r)
        self.initial_state = adapter.get_adapter_state(self._model)  # at the server's rank
        self._applied_rounds: list[int] = []

    def _attach_adapter(self, base: Any, rank: int) -> None:
        self._model = adapter.build_peft_model(base, self.run.spec.lora, self.run.spec.seed, rank)
        self._rank = rank

    def prepare_model(self, rank: int, base_deltas: BaseDeltas) -> Any:
        """The model with an adapter of a rank, and its base with these updates in it.

        Updates are added in the order of their rounds, one after another, so that the sum has the
        same bits whichever rounds this process has seen.
        """
        rounds = sorted(base_deltas)
        if self._applied_rounds != rounds[: len(self._applied_rounds)]:
            self._load_model()
        if self._rank != rank:
            self._attach_adapter(self._model.unload(), rank)
        for number in rounds[len(self._applied_rounds) :]:
            adapter.apply_base_delta(self._model, base_deltas[number])
        self._applied_rounds = rounds
        return self._model


@lru_cache(maxsize=1)
def get_worker(run: FederatedRun) -> Worker:
    """The worker of this process: its model is loaded once."""
    return Worker(run)


@lru_cache(maxsize=64)
def load_client_rows(preprocessed: Path, client: int, suffix: str = "") -> Dataset:
    """A client's tokenised rows, memory-mapped; ``.validation`` for those that it holds out."""
    return Dataset.from_file(str(preprocessed / f"client_{client}{suffix}.arrow"))
