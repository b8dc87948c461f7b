"""One experiment to plan: its settings, its inputs and the rows that need most memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.tokenized_manifest import TokenizedManifest
from blossomtune.config.engines import trains_elsewhere
from blossomtune.config.experiments import BaselineSettings
from blossomtune.config.federation import count_clients_per_gpu
from blossomtune.deployment.profile_memory import select_longest_rows
from blossomtune.federation.build_spec import build_spec
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.resources import Resources
from blossomtune.federation.run import FederatedRun
from blossomtune.modeling.batches import iterate_batches
from blossomtune.modeling.load import parse_dtype
from blossomtune.training import schedule


@dataclass(frozen=True)
class PlannedExperiment:
    """An experiment whose inputs exist.

    Attributes:
        name: Name of the experiment.
        config: The experiment's part of ``blossomtune.config.stage_inputs.plan``.
        results: Folder of the results.
        cores: CPU cores of the machine.
        num_gpus: GPUs of the machine.
    """

    name: str
    config: Mapping[str, Any]
    results: Path
    cores: int
    num_gpus: int

    @property
    def model_dir(self) -> Path:
        """Directory of the base model."""
        return self.results / "models" / str(self.config["model"])

    @property
    def preprocessed(self) -> Path:
        """Directory of the tokenized rows."""
        names = (self.config[key] for key in ("partition", "preprocessing", "model"))
        return self.results.joinpath("preprocessed", *names)

    @property
    def baselines(self) -> BaselineSettings:
        """Settings of the baselines."""
        return BaselineSettings.model_validate(self.config["baselines"])

    @cached_property
    def manifest(self) -> TokenizedManifest:
        """Manifest of the tokenized rows."""
        return read_artifact(self.preprocessed / "manifest.json", TokenizedManifest)

    @cached_property
    def run(self) -> FederatedRun:
        """The federation, with the resources of this machine."""
        partition = self.results / "partitions" / str(self.config["partition"])
        spec = build_spec(self.config["federate"], self.model_dir, partition, self.preprocessed)
        share = spec.federation.gpus_per_client
        is_elsewhere = trains_elsewhere(spec.federation.engine)
        gpus = 0.0 if is_elsewhere else 1.0 if share == "auto" else share
        return FederatedRun(
            spec=spec,
            paths=ClientPaths(
                model=self.model_dir,
                preprocessed=self.preprocessed,
                checkpoints=self.results / "checkpoints" / self.name,
            ),
            resources=Resources(cores=self.cores, gpus_per_client=gpus),
        )

    @property
    def base_dtype(self) -> torch.dtype:
        """Type of base weights during training."""
        return parse_dtype(self.run.spec.training.base_dtype)

    @property
    def uses_gpu(self) -> bool:
        """True if clients and baselines train on GPUs."""
        return bool(self.num_gpus and self.run.resources.gpus_per_client)

    @property
    def gpus_per_client(self) -> int:
        """Number of GPUs that the layers of one client's base are spread over."""
        return max(1, int(self.run.resources.gpus_per_client))

    @property
    def has_local_rows(self) -> bool:
        """True if clients train here, so that their rows are known."""
        return self.run.spec.federation.engine.name != "external" and bool(self.manifest.clients)

    @cached_property
    def training_rows(self) -> list[dict[str, Any]]:
        """Rows of the batch with the most tokens."""
        batch_size = self.run.spec.training.arguments.get("per_device_train_batch_size", 8)
        rows: list[dict[str, Any]] = select_longest_rows(self.run, batch_size).to_list()
        return rows

    def select_test_rows(self, num_rows: int) -> list[dict[str, Any]]:
        """Return the batch of the longest test rows, of at most so many rows."""
        test = Dataset.from_file(str(self.preprocessed / "test.arrow"))
        lengths = [len(ids) for ids in test["input_ids"]]
        longest_first = sorted(range(len(lengths)), key=lambda row: -lengths[row])
        positions = next(iterate_batches(longest_first, [[n] for n in lengths], num_rows))
        rows: list[dict[str, Any]] = test.select(positions).to_list()
        return rows

    def count_round_steps(self) -> int:
        """Return the optimizer steps of the client that takes most of them in a round."""
        training = self.run.spec.training
        rows = [client.num_rows for client in self.run.spec.clients if client.num_rows]
        return max(schedule.count_local_steps(training, n) for n in rows)

    def count_workers(self) -> int:
        """Return how many clients train at once on this machine; 0 if they train elsewhere."""
        federation, num_clients = self.run.spec.federation, len(self.run.spec.clients)
        if trains_elsewhere(federation.engine) or getattr(federation.engine, "address", None):
            return 0
        if federation.engine.name != "simulation":
            return -(-num_clients // getattr(federation.engine, "nodes", 1))
        workers = max(1, min(self.cores // federation.threads_per_client, num_clients))
        if self.uses_gpu:
            share = self.run.resources.gpus_per_client
            per_gpu = count_clients_per_gpu(share)
            places = self.num_gpus // int(share) if share > 1 else self.num_gpus * per_gpu
            workers = max(1, min(workers, places))
        return workers
