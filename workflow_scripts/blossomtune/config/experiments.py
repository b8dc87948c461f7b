"""Blocks of experiments: everything from names of other blocks to what is measured."""

from pydantic import Field

from blossomtune.config.adapters import Lora
from blossomtune.config.base import Block, Count, Name
from blossomtune.config.evaluation import Evaluation
from blossomtune.config.federation import Federation
from blossomtune.config.training import Training


class Controls(Block):
    """What the federated model is compared with, at the same number of steps."""

    centralised: bool = Field(False, description="One model, trained on all clients' rows pooled.")
    local: bool = Field(False, description="Each client alone, scored on the common test rows.")
    threads: Count = Field(2, description="CPU threads while training them.")


class Experiment(Block):
    """One federated fine-tuning run, from named blocks."""

    model: Name
    partition: Name
    preprocessing: Name
    lora: Lora = Lora()
    training: Training = Training()
    federation: Federation = Federation()
    controls: Controls = Controls()
    evaluation: Evaluation = Evaluation()
