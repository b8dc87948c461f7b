"""List two values of every key of an experiment's blocks, for tests of what reruns.

``build_cases`` fails if a key of a block is missing here.
"""

from dataclasses import dataclass, field
from typing import Any

from config_cases import PATH_SOURCE, collect_block_types

from blossomtune.config.base import Block
from blossomtune.config.benchmarks import BenchmarkSettings
from blossomtune.config.engines import ENGINES, ExternalEngine, FlowerEngine
from blossomtune.config.evaluation import ChoicesColumn, EvaluationSettings, GenerationSettings
from blossomtune.config.experiments import BaselineSettings, ExperimentSettings
from blossomtune.config.export import ExportSettings, PublishSettings
from blossomtune.config.federation import (
    CommunicationSettings,
    EarlyStoppingSettings,
    FederationSettings,
    PrivacySettings,
)
from blossomtune.config.judge import JudgeSettings
from blossomtune.config.lora import ColumnRanks, LoraSettings
from blossomtune.config.strategies import STRATEGY_SETTINGS
from blossomtune.config.training import TrainingSettings

HETEROGENEOUS = {"aggregation": "flexlora"}
JUDGE = {"base_url": "https://a.example/v1", "model": "a"}


@dataclass(frozen=True)
class Example:
    """A block of an experiment, and another value of each of its keys.

    Attributes:
        block_type: Class of the block.
        path: Keys from the experiment to the block.
        values: The block's keys and values.
        new_values: Another valid value per key.
        federation: Keys of the federation that the block needs.
        is_listed: Whether the block is an item of a list.
    """

    block_type: type[Block]
    path: tuple[str, ...]
    values: dict[str, Any]
    new_values: dict[str, Any]
    federation: dict[str, Any] = field(default_factory=dict)
    is_listed: bool = False


EXAMPLES = [
    Example(
        ExperimentSettings,
        (),
        {},
        {"model": "other", "partition": "other", "preprocessing": "other"}
        | {"export": {"gguf": ["f16"]}, "publish": {"repo": "a/b"}},
    ),
    Example(
        LoraSettings,
        ("lora",),
        {"r": 8},
        {"r": 4, "alpha": 1, "dropout": 0.5, "rslora": True, "dora": True}
        | {"target_modules": "all-linear"},
    ),
    Example(LoraSettings, ("lora",), {"ranks": [4] * 11}, {"ranks": [2] * 11}, HETEROGENEOUS),
    Example(
        ColumnRanks,
        ("lora", "ranks"),
        {"column": "a", "ranks": {"x": 4}},
        {"column": "b", "ranks": {"x": 2}},
        HETEROGENEOUS,
    ),
    Example(
        TrainingSettings,
        ("training",),
        {},
        {"learning_rate_max": 1e-2, "learning_rate_min": 0, "optimizer_state": "kept"}
        | {"base_dtype": "bfloat16", "quantization": "4bit", "arguments": {"optim": "adopt"}},
    ),
    Example(
        FederationSettings,
        ("federation",),
        {"gpus_per_client": 1},
        {"strategy": "fedprox", "aggregation": "ffa", "rounds": 5, "fraction_train": 0.5}
        | {"client_weights": "held", "engine": "process", "tls": False}
        | {
            "fraction_evaluate": 1,
            "min_clients": 2,
            "min_available_clients": 2,
            "round_timeout": 9,
            "max_update_norm": 5,
            "threads_per_client": 2,
        }
        | {"gpus_per_client": 0, "evaluate_rows": 9, "evaluate_every": 2, "early_stopping": {}}
        | {"result": "best", "keep_checkpoints": 3, "communication": {"precision": "int8"}}
        | {"privacy": {}, "quarantine": 0},
    ),
    Example(
        CommunicationSettings,
        ("federation", "communication"),
        {},
        {"precision": "bfloat16", "budget_mb": 3},
    ),
    Example(
        EarlyStoppingSettings,
        ("federation", "early_stopping"),
        {},
        {"patience": 1, "min_delta": 0.1},
    ),
    Example(
        PrivacySettings,
        ("federation", "privacy"),
        {},
        {"clipping": "adaptive", "side": "client", "noise_multiplier": 2, "clipping_norm": 2}
        | {"target_quantile": 0.9, "clipping_rate": 0.1, "delta": 1e-6, "secret": "own/secret"},
    ),
    Example(
        BaselineSettings, ("baselines",), {}, {"centralised": True, "local": True, "threads": 1}
    ),
    Example(
        EvaluationSettings,
        ("evaluation",),
        {},
        {"choices": ["a", "b"], "by": "a", "batch_size": 1, "bootstrap": 100}
        | {"metrics": ["chrf"], "answer": "#### (.*)"}
        | {"generation": {"rows": 1}, "device": "cuda", "dtype": "bfloat16"}
        | {"benchmarks": ["arc_easy"], "judge": JUDGE},
    ),
    Example(
        BenchmarkSettings,
        ("evaluation", "benchmarks"),
        {"task": "arc_easy"},
        {"task": "sciq", "num_fewshot": 5, "limit": 9, "chat_template": True, "dataset": "base"}
        | {"include_path": "tasks", "allow_code_execution": True},
        is_listed=True,
    ),
    Example(
        JudgeSettings,
        ("evaluation", "judge"),
        JUDGE,
        {"base_url": "https://b.example/v1", "model": "b", "rows": 1, "instructions": "Be fair."}
        | {"references": False, "max_tokens": 9, "extra_body": {"top_p": 1}, "timeout": 9}
        | {"parallel_requests": 1, "allow_http": True},
    ),
    Example(
        ExportSettings,
        ("export",),
        {"gguf": ["f16"]},
        {"gguf": ["q8_0"], "adapter_gguf": True, "ollama": True},
    ),
    Example(
        PublishSettings,
        ("publish",),
        {"repo": "a/b"},
        {"repo": "a/c", "what": "merged", "private": False, "revision": "v2"},
    ),
    Example(
        ChoicesColumn, ("evaluation", "choices"), {"column": "a"}, {"column": "b", "score": "label"}
    ),
    Example(GenerationSettings, ("evaluation", "generation"), {}, {"rows": 1, "max_new_tokens": 1}),
]

PARAMETERS: dict[str, dict[str, Any]] = {
    "fedprox": {"mu": 1},
    "fedavgm": {"learning_rate": 0.5, "momentum": 0},
    "fedadagrad": {"eta": 1, "tau": 1},
    "fedadam": {"eta": 1, "tau": 1, "beta_1": 0, "beta_2": 0},
    "fedyogi": {"eta": 1, "tau": 1, "beta_1": 0, "beta_2": 0},
    "fedtrimmedavg": {"beta": 0.4},
    "krum": {"malicious": 1},
    "multikrum": {"malicious": 1, "selected": 5},
    "bulyan": {"malicious": 1},
}
EXAMPLES += [
    Example(
        block,
        ("federation", "strategy"),
        {"name": name},
        PARAMETERS.get(name, {}) | {"name": "fedprox" if name == "fedavg" else "fedavg"},
    )
    for name, block in STRATEGY_SETTINGS.items()
]
ENGINE_PARAMETERS: dict[str, dict[str, Any]] = {
    "simulation": {"address": "auto"},
    "docker": {"image": "other", "memory_mb": 9, "cpus": 1},
    "apptainer": {"image": "other"},
    "slurm": {"image": "other", "nodes": 2},
}
EXTERNAL = {"name": "external", "host": "a.example"}
EXAMPLES += [
    Example(
        ExternalEngine,
        ("federation", "engine"),
        EXTERNAL,
        {"host": "b.example", "port": 9, "keys": "others"},
    ),
    Example(
        FlowerEngine,
        ("federation", "engine"),
        {"name": "flower", "address": "a.example:8000"},
        {"address": "b.example:8000", "root_certificates": "ca.crt", "keys": "others"}
        | {"superexec_secret": "secret"},
    ),
    Example(
        FlowerEngine,
        ("federation", "engine"),
        {"name": "flower", "connection": "a"},
        {"connection": "b"},
    ),
]
EXAMPLES += [
    Example(
        block,
        ("federation", "engine"),
        {"name": name},
        ENGINE_PARAMETERS.get(name, {})
        | {"name": "process" if name == "simulation" else "simulation"},
    )
    for name, block in ENGINES.items()
    if name not in {"external", "flower"}
]


@dataclass(frozen=True)
class Case:
    """An experiment before and after one key changes."""

    path: str
    before: dict[str, Any]
    after: dict[str, Any]


def _build_experiment(example: Example, block: dict[str, Any]) -> dict[str, Any]:
    experiment: dict[str, Any] = dict.fromkeys(("model", "partition", "preprocessing"), "base")
    experiment["federation"] = {"gpus_per_client": 1} | example.federation
    parent = experiment
    *path, last = example.path or [None]
    for key in path:
        parent = parent.setdefault(key, {})
    if example.is_listed:
        parent[last] = [block]
    elif last is None:
        parent |= block
    else:
        parent[last] = parent.get(last, {}) | block
    return experiment


def build_cases() -> list[Case]:
    """Return one case per key with more than one value of every block of an experiment."""
    cases, missing = [], set()
    for block_type in collect_block_types(ExperimentSettings):
        missing |= {(block_type, key) for key in block_type.model_fields}
    nested = ("lora", "training", "federation", "baselines", "evaluation")
    missing -= {(ExperimentSettings, key) for key in nested}  # their own keys are here
    missing.remove((ExternalEngine, "name"))  # no other engine goes with its partition
    missing.remove((FlowerEngine, "name"))  # nor with its keys
    for example in EXAMPLES:
        for key, value in example.new_values.items():
            missing.discard((example.block_type, key))
            unchanged = {} if key == "name" else example.values
            cases.append(
                Case(
                    ".".join([*example.path, example.values.get("name", ""), key]),
                    _build_experiment(example, example.values),
                    _build_experiment(example, unchanged | {key: value}),
                )
            )
    assert not missing, f"two values of each of these keys are missing in {__file__}: {missing}"
    return cases


def build_configuration(experiment: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration of one experiment; other sections have ``base`` and ``other``."""
    partition = {"partitioner": "iid", "num_partitions": 11, "validation_size": 1}
    if "host" in str(experiment["federation"].get("engine")):
        partition = {"partitioner": "local", "clients": [f"client{i}" for i in range(11)]}
    sections = {
        "models": {"source": {"kind": "path", "path": "own"}},
        "datasets": {"source": PATH_SOURCE},
        "partitions": partition | {"dataset": "base"},
        "preprocessing": {"text": "{{ a }}"},
    }
    blocks = {section: {"base": block, "other": block} for section, block in sections.items()}
    return {"run": ["x"], **blocks, "experiments": {"x": experiment}}
