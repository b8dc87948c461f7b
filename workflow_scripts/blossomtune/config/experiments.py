"""Blocks of experiments: adapter, training, federation and evaluation."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from blossomtune.config.base import (
    NUMBER,
    Above0,
    AtLeast0,
    Block,
    Count,
    Name,
    Share,
    Text,
    Whole,
    distinct,
    in_words,
)


class Lora(Block):
    """The adapter (LoRA, arXiv 2106.09685)."""

    r: Count = 8
    alpha: Above0 = 16
    dropout: Annotated[float, Field(ge=0, lt=1), NUMBER] = 0.0
    rslora: bool = Field(False, description="Scale by alpha / sqrt(r) (arXiv 2312.03732).")
    target_modules: Annotated[
        Annotated[list[Text], Field(min_length=1)] | Literal["all-linear"],
        in_words("a list of layers' names, or all-linear"),
    ] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Training(Block):
    """What a client does in a round."""

    learning_rate_max: Above0 = Field(5e-4, description="In round 1.")
    learning_rate_min: AtLeast0 = Field(
        5e-5, description="In the last round.", validate_default=True
    )
    arguments: dict[str, Any] = Field({}, description="Any argument of TRL's SFTConfig.")

    @field_validator("learning_rate_min")
    @classmethod
    def _below_max(cls, low: float, info: ValidationInfo) -> float:
        high = info.data.get("learning_rate_max", low)
        if low > high:
            raise ValueError(f"{low} is above learning_rate_max ({high})")
        return low


class Federation(Block):
    """How clients and server work together."""

    engine: Literal["simulation"] = "simulation"
    strategy: Literal["fedavg"] = "fedavg"
    rounds: Count = 3
    fraction_train: Share = Field(1.0, description="Share of the clients that train in a round.")
    min_clients: Count = Field(
        1, description="Fewest clients whose results make a round; with fewer the run stops."
    )
    round_timeout: Above0 = Field(
        3600, description="Seconds after which a round goes on without those that are missing."
    )
    threads_per_client: Count = Field(
        1, description="CPU threads a client; more clients than fit take turns."
    )
    gpus_per_client: AtLeast0 = Field(0, description="GPUs a client; 0.5 puts two clients on one.")
    evaluate_rows: Whole = Field(
        64, description="Held-out rows that the server scores before round 1 and after each round."
    )


class Generation(Block):
    """Greedy answers, compared with the completion to the letter."""

    rows: Whole = Field(64, description="Sampled test rows; 0 for none.")
    max_new_tokens: Count = 16


class Evaluation(Block):
    """What is measured on the held-out rows, for the base and the federated model alike."""

    choices: Annotated[list[Text], AfterValidator(distinct)] = Field(
        [], description="Possible completions; the likeliest is the answer."
    )
    by: Text | None = Field(None, description="Column whose values get metrics of their own.")
    generation: Generation = Generation()
    batch_size: Count = 32
    bootstrap: Annotated[int, Field(ge=100), NUMBER] = Field(
        2000, description="Resamples an interval."
    )

    @field_validator("choices")
    @classmethod
    def _none_or_several(cls, choices: list[str]) -> list[str]:
        if len(choices) == 1:
            raise ValueError(f"{choices} is no choice; give two or more, or none")
        return choices


class Experiment(Block):
    """One federated fine-tuning run, from named blocks."""

    model: Name
    partition: Name
    preprocessing: Name
    lora: Lora = Lora()
    training: Training = Training()
    federation: Federation = Federation()
    evaluation: Evaluation = Evaluation()
