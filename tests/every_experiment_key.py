"""Every key of the blocks that an experiment is made of, with two values: for tests of what reruns.

``cases`` fails where a block has a key that is not here.
"""

from dataclasses import dataclass, field
from typing import Any

from every_key import PATH, classes

from blossomtune.config.base import Block
from blossomtune.config.engines import ENGINES, ExternalEngine
from blossomtune.config.evaluation import EvaluationSettings, GenerationSettings
from blossomtune.config.experiments import BaselineSettings, ExperimentSettings
from blossomtune.config.federation import (
    CommunicationSettings,
    EarlyStoppingSettings,
    FederationSettings,
    PrivacySettings,
)
from blossomtune.config.lora import ColumnRanks, LoraSettings
from blossomtune.config.strategies import STRATEGY_SETTINGS
from blossomtune.config.training import TrainingSettings

MIXED = {"aggregation": "flexlora"}


@dataclass(frozen=True)
class Example:
    """A block at a place of an experiment, and another value of its keys.

    ``around`` has what the experiment's federation needs for it.
    """

    block: type[Block]
    place: tuple[str, ...]
    given: dict[str, Any]
    others: dict[str, Any]
    around: dict[str, Any] = field(default_factory=dict)


EXAMPLES = [
    Example(
        ExperimentSettings,
        (),
        {},
        {"model": "other", "partition": "other", "preprocessing": "other"},
    ),
    Example(
        LoraSettings,
        ("lora",),
        {"r": 8},
        {"r": 4, "alpha": 1, "dropout": 0.5, "rslora": True, "dora": True}
        | {"target_modules": "all-linear"},
    ),
    Example(LoraSettings, ("lora",), {"ranks": [4] * 11}, {"ranks": [2] * 11}, MIXED),
    Example(
        ColumnRanks,
        ("lora", "ranks"),
        {"column": "a", "ranks": {"x": 4}},
        {"column": "b", "ranks": {"x": 2}},
        MIXED,
    ),
    Example(
        TrainingSettings,
        ("training",),
        {},
        {"learning_rate_max": 1e-2, "learning_rate_min": 0, "optimizer_state": "kept"}
        | {"quantization": "4bit", "arguments": {"optim": "adopt"}},
    ),
    Example(
        FederationSettings,
        ("federation",),
        {"gpus_per_client": 1},
        {"strategy": "fedprox", "aggregation": "ffa", "rounds": 5, "fraction_train": 0.5}
        | {"client_weights": "held", "engine": "process", "tls": False}
        | {"fraction_evaluate": 1, "min_clients": 2, "round_timeout": 9, "threads_per_client": 2}
        | {"gpus_per_client": 0, "evaluate_rows": 9, "evaluate_every": 2, "early_stopping": {}}
        | {"result": "best", "keep_checkpoints": 3, "communication": {"precision": "int8"}}
        | {"privacy": {}},
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
        | {"generation": {"rows": 1}},
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
    "docker": {"image": "other", "memory_mb": 9, "cpus": 1},
    "apptainer": {"image": "other"},
    "slurm": {"image": "other", "nodes": 2},
}
OUTSIDE = {"name": "external", "host": "a.example"}
EXAMPLES += [
    Example(
        ExternalEngine,
        ("federation", "engine"),
        OUTSIDE,
        {"host": "b.example", "port": 9, "keys": "others"},
    )
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
    if name != "external"
]


@dataclass(frozen=True)
class Case:
    """An experiment before and after a change of one key."""

    path: str
    before: dict[str, Any]
    after: dict[str, Any]


def _experiment(example: Example, block: dict[str, Any]) -> dict[str, Any]:
    experiment: dict[str, Any] = dict.fromkeys(("model", "partition", "preprocessing"), "base")
    experiment["federation"] = {"gpus_per_client": 1} | example.around
    at = experiment
    for key in example.place:
        at = at.setdefault(key, {})
    at |= block
    return experiment


def cases() -> list[Case]:
    """A case for every key of every block that has more than one value."""
    found, wanted = [], set()
    for block in classes(ExperimentSettings):
        wanted |= {(block, key) for key in block.model_fields}
    inside = ("lora", "training", "federation", "baselines", "evaluation")
    wanted -= {(ExperimentSettings, key) for key in inside}  # their own keys are here
    wanted.remove((ExternalEngine, "name"))  # no other engine goes with its partition
    for example in EXAMPLES:
        for key, value in example.others.items():
            wanted.discard((example.block, key))
            kept = {} if key == "name" else example.given
            found.append(
                Case(
                    ".".join([*example.place, example.given.get("name", ""), key]),
                    _experiment(example, example.given),
                    _experiment(example, kept | {key: value}),
                )
            )
    assert not wanted, f"two values of each of these keys are missing in {__file__}: {wanted}"
    return found


def configuration(experiment: dict[str, Any]) -> dict[str, Any]:
    """A configuration of this experiment ``x``; its other blocks are called base and other."""
    cut = {"partitioner": "iid", "num_partitions": 11, "validation_size": 1}
    if "host" in str(experiment["federation"].get("engine")):
        cut = {"partitioner": "local", "clients": [f"client{i}" for i in range(11)]}
    sections = {
        "models": {"source": {"kind": "path", "path": "own"}},
        "datasets": {"source": PATH},
        "partitions": cut | {"dataset": "base"},
        "preprocessing": {"text": "{{ a }}"},
    }
    blocks = {section: {"base": block, "other": block} for section, block in sections.items()}
    return {"run": ["x"], **blocks, "experiments": {"x": experiment}}
