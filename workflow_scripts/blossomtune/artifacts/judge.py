"""judge.json: answers of the federated model, compared with those of others by a judge model."""

from pydantic import model_validator

from blossomtune.artifacts.base import Artifact, Part
from blossomtune.artifacts.metrics import ConfidenceInterval


class JudgedPair(Part):
    """Verdicts on the federated model's answers against those of another model.

    Each row is judged in both orders. A row is a win or a loss if both verdicts agree on it.

    Attributes:
        rows: number of rows, the sum of wins, losses and ties.
        wins: rows on which the federated model's answer is better.
        losses: rows on which the other model's answer is better.
        ties: all other rows, including inconsistent and unreadable ones.
        inconsistent: rows whose verdict changes with the order of the answers.
        unreadable: rows with a verdict that is none of the allowed ones, in any order.
        win_rate: share of rows that the federated model wins; a tie counts half.
    """

    rows: int
    wins: int
    losses: int
    ties: int
    inconsistent: int
    unreadable: int
    win_rate: ConfidenceInterval

    @model_validator(mode="after")
    def _check_rows(self) -> "JudgedPair":
        if self.wins + self.losses + self.ties != self.rows:
            raise ValueError("wins, losses and ties are not all rows")
        if self.inconsistent + self.unreadable > self.ties:
            raise ValueError("inconsistent and unreadable rows are more than the ties")
        return self


class JudgeResults(Artifact):
    """Pairwise comparisons by a judge model.

    Attributes:
        model: name of the judge model.
        pairs: the federated model against each other model, by its name: ``base``,
            ``centralised``, ``local_0``, ….
    """

    model: str
    pairs: dict[str, JudgedPair]
