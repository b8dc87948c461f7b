"""Define the configuration of experiments."""

from pydantic import Field

from blossomtune.config.base import Block, Name, PositiveInt
from blossomtune.config.evaluation import EvaluationSettings
from blossomtune.config.export import ExportSettings, PublishSettings
from blossomtune.config.federation import FederationSettings
from blossomtune.config.lora import LoraSettings
from blossomtune.config.training import TrainingSettings


class BaselineSettings(Block):
    """Models to compare with, trained at equal steps.

    See [baselines](federation-methods.md#baselines).
    """

    centralised: bool = Field(False, description="One model on all clients' rows pooled.")
    local: bool = Field(
        False, description="One model per client on its own rows, scored on the common test rows."
    )
    threads: PositiveInt = Field(2, description="CPU threads for training a baseline.")


class ExperimentSettings(Block):
    """One federated fine-tuning run."""

    model: Name = Field(description="A block of `models`.")
    partition: Name = Field(description="A block of `partitions`, and through it the data.")
    preprocessing: Name = Field(description="A block of `preprocessing`.")
    lora: LoraSettings = Field(LoraSettings(), description="The adapter.")
    training: TrainingSettings = Field(
        TrainingSettings(), description="Local training of a client."
    )
    federation: FederationSettings = Field(
        FederationSettings(), description="Rounds, aggregation and engine."
    )
    baselines: BaselineSettings = Field(BaselineSettings(), description="Models to compare with.")
    evaluation: EvaluationSettings = Field(
        EvaluationSettings(), description="The final evaluation."
    )
    export: ExportSettings | None = Field(
        None, description="Formats for other programs, such as `{gguf: [q8_0], ollama: true}`."
    )
    publish: PublishSettings | None = Field(
        None, description="Where `make run ARGS=publish` pushes the result."
    )

    @property
    def evaluation_gpus(self) -> int:
        """Return the number of GPUs that the evaluation may use: as many as a client."""
        if self.evaluation_device == "cpu":
            return 0
        return max(1, self.federation.max_gpus_per_client)

    @property
    def evaluation_device(self) -> str:
        """Return the setting of the evaluation's device; ``auto`` is cpu if clients train on it."""
        uses_cpu = self.evaluation.device == "auto" and not self.federation.gpus_per_client
        return "cpu" if uses_cpu else self.evaluation.device
