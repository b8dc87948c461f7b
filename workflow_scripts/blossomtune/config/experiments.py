"""Blocks of experiments: everything from names of other blocks to what is measured."""

from pydantic import Field

from blossomtune.config.base import Block, Name, PositiveInt
from blossomtune.config.evaluation import EvaluationSettings
from blossomtune.config.federation import FederationSettings
from blossomtune.config.lora import LoraSettings
from blossomtune.config.training import TrainingSettings


class BaselineSettings(Block):
    """What the federated model is compared with, at the same number of steps."""

    centralised: bool = Field(False, description="One model, trained on all clients' rows pooled.")
    local: bool = Field(False, description="Each client alone, scored on the common test rows.")
    threads: PositiveInt = Field(2, description="CPU threads while training them.")


class ExperimentSettings(Block):
    """One federated fine-tuning run, from named blocks."""

    model: Name
    partition: Name
    preprocessing: Name
    lora: LoraSettings = LoraSettings()
    training: TrainingSettings = TrainingSettings()
    federation: FederationSettings = FederationSettings()
    baselines: BaselineSettings = BaselineSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
