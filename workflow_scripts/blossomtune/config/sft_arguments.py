"""The names and types of SFTConfig's arguments, read without importing torch.

A dry run must stay fast, so the classes are parsed instead of imported.
"""

import ast
import importlib.util
import typing
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from blossomtune.config import sft_arguments
from blossomtune.config.configuration import Configuration
from blossomtune.config.error_messages import (
    _abbreviate,
    _suggest_spelling,
    describe_allowed_values,
)
from blossomtune.config.references import _get_mapping

# The workflow decides these itself; a second opinion would break a promise of it.
RESERVED = {
    "output_dir": "results have fixed names",
    "learning_rate": "use training.learning_rate_max and learning_rate_min",
    "lr_scheduler_type": "the learning rate is constant in a round and anneals over rounds",
    "lr_scheduler_kwargs": "the learning rate is constant in a round and anneals over rounds",
    "warmup_steps": "the learning rate is constant in a round and anneals over rounds",
    "seed": "every client and round has a seed of its own, derived from the top-level seed",
    "data_seed": "the order of the data follows from the top-level seed",
    "full_determinism": "runs are deterministic already",
    "max_length": "use preprocessing's max_length",
    "packing": "use preprocessing's packing",
    "padding_free": "rows are tokenised once, by preprocess",
    "chat_template_path": "the model's own chat template is used",
    "eos_token": "the model's own EOS is used",
    "dataset_text_field": "rows are tokenised once, by preprocess",
    "dataset_kwargs": "rows are tokenised once, by preprocess",
    "assistant_only_loss": "the loss is on the completion",
    "completion_only_loss": "the loss is on the completion",
    "loss_type": "the loss is the negative log-likelihood of the completion",
    "label_smoothing_factor": "the loss is the negative log-likelihood of the completion",
    "router_aux_loss_coef": "the loss is the negative log-likelihood of the completion",
    "train_sampling_strategy": "the order of the data follows from the top-level seed",
    "shuffle_dataset": "the order of the data follows from the top-level seed",
    "model_init_kwargs": "the base is loaded as training.quantization says",
    "trust_remote_code": "code that comes with a model is never run",
    "push_to_hub": "clients publish nothing",
    "hub_token": "secrets do not belong into a configuration",
    "report_to": "clients report to the server alone",
    "do_eval": "evaluate is a stage of its own",
    "eval_strategy": "evaluate is a stage of its own",
    "save_strategy": "every round is kept by the workflow",
    "use_cpu": "federation.gpus_per_client decides where clients train",
    "logging_strategy": "the loss of every client and round is in history.json",
    "disable_tqdm": "clients run in processes of their own, without a terminal",
    "remove_unused_columns": "rows are tokenised once, by preprocess",
    "resume_from_checkpoint": "a round starts from the server's adapter",
}

_ARGUMENT_CLASSES = (
    ("transformers", "training_args.py", "TrainingArguments"),
    ("trl", "trainer/base_config.py", "_BaseConfig"),
    ("trl", "trainer/sft_config.py", "SFTConfig"),
)


@cache
def read_annotations() -> dict[str, str]:
    """Argument name to its annotation's source text; empty where TRL is not installed."""
    found: dict[str, str] = {}
    for place in _ARGUMENT_CLASSES:
        body = _parse_class_body(*place)
        if body is None:
            return {}
        for node in body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found[node.target.id] = ast.unparse(node.annotation)
    return found


@cache
def list_optimizers() -> list[str]:
    """What ``optim`` may be: transformers' names and ADOPT; empty where it is not installed."""
    body = _parse_class_body("transformers", "training_args.py", "OptimizerNames")
    names = [ast.literal_eval(node.value) for node in body or [] if isinstance(node, ast.Assign)]
    return ["adopt", *names] if names else []


def _parse_class_body(package: str, file: str, class_name: str) -> list[ast.stmt] | None:
    """The statements of a class, or None where its package is not installed."""
    spec = importlib.util.find_spec(package)  # finds, does not import
    if spec is None or spec.origin is None:
        return None
    tree = ast.parse((Path(spec.origin).parent / file).read_text(encoding="utf-8"))
    return next(n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == class_name)


def validate_argument(name: str, value: Any) -> tuple[Any, str | None]:
    """The value as its type wants it, and what is allowed instead (None where it is right).

    YAML reads ``1e-4`` as text; this makes it a number. Types that are more than Python's own
    are left for SFTConfig to judge.
    """
    names = {n: getattr(typing, n) for n in ("Any", "Union", "Optional", "Literal")}
    try:
        adapter = TypeAdapter(
            eval(read_annotations()[name], {"__builtins__": __builtins__, **names})
        )  # noqa: S307
    except (KeyError, NameError, TypeError, SyntaxError):
        return value, None
    try:
        return adapter.validate_python(value), None
    except ValidationError as error:
        return value, describe_allowed_values(error.errors())


def _validate_sft_arguments(raw: Any) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """SFTConfig's arguments in their types, by experiment, and what is wrong with them."""
    typed: dict[str, dict[str, Any]] = {}
    faults = []
    known = sft_arguments.read_annotations()
    for experiment in _get_mapping(raw, "experiments"):
        typed[experiment] = {}
        given = _get_mapping(raw, "experiments", experiment, "training", "arguments")
        for name, value in given.items():
            if not isinstance(name, str):
                continue  # told already
            path = f"experiments.{experiment}.training.arguments.{name}"
            typed[experiment][name], wrong = sft_arguments.validate_argument(name, value)
            if name in sft_arguments.RESERVED:
                faults.append(f"{path}: cannot be set; {sft_arguments.RESERVED[name]}")
            elif known and name not in known:
                faults.append(
                    f"{path}: SFTConfig has no such argument{_suggest_spelling(name, known)}"
                )
            elif name == "optim" and known and value not in sft_arguments.list_optimizers():
                hint = _suggest_spelling(value, sft_arguments.list_optimizers())
                faults.append(
                    f"{path}: {_abbreviate(value)} is not allowed; allowed: adopt, or an optimizer of "
                    f"transformers{hint}"
                )
            elif wrong:
                faults.append(f"{path}: {_abbreviate(value)} is not allowed; allowed: {wrong}")
    return typed, faults


def _replace_sft_arguments(
    typed_arguments: dict[str, dict[str, Any]], configuration: Configuration
) -> Configuration:
    """The configuration with these arguments of its experiments."""
    experiments = {
        name: e.model_copy(
            update={"training": e.training.model_copy(update={"arguments": typed_arguments[name]})}
        )
        for name, e in configuration.experiments.items()
    }
    return configuration.model_copy(update={"experiments": experiments})
