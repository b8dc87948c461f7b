"""Schedule of non-federated baselines: which rows they train on in each round."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from blossomtune.config.training import TrainingSettings
from blossomtune.seeds import derive_seed
from blossomtune.training import client_sampling, schedule
from blossomtune.training.schedule import ScheduledRound

CENTRALIZED = "centralised"


@dataclass(frozen=True)
class Baseline:
    """A baseline to train.

    Attributes:
        config: Configuration from ``blossomtune.config.stage_inputs``.
        client: Number of the client that trains alone, or None for all clients' rows together.
    """

    config: Mapping[str, Any]
    client: int | None

    @classmethod
    def from_name(cls, name: str, config: Mapping[str, Any]) -> "Baseline":
        """Create the baseline of a name.

        Args:
            name: ``centralised`` or ``local_<i>``.
            config: Configuration from ``blossomtune.config.stage_inputs``.

        Returns:
            The baseline.
        """
        return cls(config, None if name == CENTRALIZED else int(name.removeprefix("local_")))

    @property
    def seed_purpose(self) -> int | str:
        """Purpose of random seeds: a client has the seeds that it has in the federation."""
        return CENTRALIZED if self.client is None else self.client

    @property
    def training(self) -> TrainingSettings:
        """Validated training settings."""
        return TrainingSettings.model_validate(self.config["training"])

    def iterate_rounds(self, rows_per_client: Sequence[int]) -> Iterator[ScheduledRound]:
        """Schedule the rounds of the federation.

        Args:
            rows_per_client: Training rows of each client of the federation.

        Yields:
            Each round.
        """
        seed, num_rounds, training = self.config["seed"], self.config["rounds"], self.training
        num_clients, fraction = len(rows_per_client), self.config["fraction_train"]
        pooled = self.client is None
        offsets = np.cumsum([0, *rows_per_client]) if pooled else np.zeros(num_clients, int)
        consumed = [0] * num_clients
        for number in range(1, num_rounds + 1):
            indices: list[int] = []
            steps = 0
            for i in client_sampling.sample_clients(seed, number, range(num_clients), fraction):
                if self.client in (None, i):
                    num_rows = rows_per_client[i]
                    client_steps = schedule.count_local_steps(training, num_rows)
                    count = client_steps * schedule.effective_batch_size(training)
                    rows = schedule.select_examples(seed, i, num_rows, consumed[i], count)
                    indices += [int(offsets[i]) + row for row in rows]
                    steps, consumed[i] = steps + client_steps, consumed[i] + count
            if pooled:
                generator = np.random.default_rng(derive_seed(seed, "order", CENTRALIZED, number))
                indices = [indices[i] for i in generator.permutation(len(indices))]
            learning_rate = schedule.compute_learning_rate(training, number, num_rounds)
            yield ScheduledRound(number, learning_rate, steps, indices)
