"""TODO docstring."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from blossomtune.config.training import TrainingSettings
from blossomtune.seeds import derive_seed
from blossomtune.training import schedule

CENTRALIZED = "centralised"


@dataclass(frozen=True)
class BaselineRound:
    """What a control does in one round of the federation.

    Attributes:
        round: 1, 2, …
        learning_rate: of this round.
        steps: optimizer steps; 0 for a client that the federation does not take in this round.
        rows: which of the control's rows it trains on, in order.
    """

    round: int
    learning_rate: float
    steps: int
    row_indices: list[int]


@dataclass(frozen=True)
class Baseline:
    """One control to train.

    Attributes:
        config: what ``blossomtune.config.stage_inputs.control`` returned.
        client: the one that is alone, or None for all of them together.
    """

    config: Mapping[str, Any]
    client: int | None

    @classmethod
    def from_name(cls, name: str, config: Mapping[str, Any]) -> "Baseline":
        """The control of a name: ``centralised`` or ``local_<i>``."""
        return cls(config, None if name == CENTRALIZED else int(name.removeprefix("local_")))

    @property
    def seed_purpose(self) -> int | str:
        """Whose random choices these are: a client draws as it does in the federation."""
        return CENTRALIZED if self.client is None else self.client

    @property
    def training(self) -> TrainingSettings:
        """What is done in a round."""
        return TrainingSettings.model_validate(self.config["training"])

    def iterate_rounds(self, rows_per_client: Sequence[int]) -> Iterator[BaselineRound]:
        """All rounds.

        Args:
            rows: how many each of the federation's clients has.
        """
        seed, rounds, training = self.config["seed"], self.config["rounds"], self.training
        pooled = self.client is None
        first = np.cumsum([0, *rows_per_client]) if pooled else np.zeros(len(rows_per_client), int)
        taken = [0] * len(rows_per_client)
        for number in range(1, rounds + 1):
            walk: list[int] = []
            steps = 0
            for i in schedule.sample_clients(
                seed, number, len(rows_per_client), self.config["fraction_train"]
            ):
                if self.client in (None, i):
                    more = schedule.count_local_steps(training, rows_per_client[i])
                    count = more * schedule.effective_batch_size(training)
                    each = schedule.select_examples(seed, i, rows_per_client[i], taken[i], count)
                    walk += [int(first[i]) + row for row in each]
                    steps, taken[i] = steps + more, taken[i] + count
            if pooled:
                random = np.random.default_rng(derive_seed(seed, "order", CENTRALIZED, number))
                walk = [walk[i] for i in random.permutation(len(walk))]
            yield BaselineRound(
                number, schedule.compute_learning_rate(training, number, rounds), steps, walk
            )
