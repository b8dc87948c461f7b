"""Validate ``training.arguments`` by the source of SFTConfig, without importing torch."""

import ast
import importlib.util
import typing
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from blossomtune.config.configuration import Configuration
from blossomtune.config.error_messages import describe_allowed_values, suggest_spelling
from blossomtune.config.references import get_mapping
from blossomtune.errors import abbreviate

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
"""Arguments that the workflow sets itself, and why."""

_ARGUMENT_CLASSES = (
    ("transformers", "training_args.py", "TrainingArguments"),
    ("trl", "trainer/base_config.py", "_BaseConfig"),
    ("trl", "trainer/sft_config.py", "SFTConfig"),
)


@cache
def read_annotations() -> dict[str, str]:
    """Return the source text of each argument's annotation; empty if TRL is not installed."""
    annotations: dict[str, str] = {}
    for location in _ARGUMENT_CLASSES:
        body = _parse_class_body(*location)
        if body is None:
            return {}
        for node in body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                annotations[node.target.id] = ast.unparse(node.annotation)
    return annotations


@cache
def list_optimizers() -> list[str]:
    """Return the allowed values of ``optim``; empty if transformers is not installed."""
    body = _parse_class_body("transformers", "training_args.py", "OptimizerNames")
    names = [ast.literal_eval(node.value) for node in body or [] if isinstance(node, ast.Assign)]
    return ["adopt", *names] if names else []


def _parse_class_body(package: str, file: str, class_name: str) -> list[ast.stmt] | None:
    """Return the statements of a class, or None if its package is not installed."""
    spec = importlib.util.find_spec(package)  # finds, does not import
    if spec is None or spec.origin is None:
        return None
    tree = ast.parse((Path(spec.origin).parent / file).read_text(encoding="utf-8"))
    return next(n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == class_name)


def validate_argument(name: str, value: Any) -> tuple[Any, str | None]:
    """Convert an argument to its type: YAML reads ``1e-4`` as text.

    SFTConfig validates types that are not Python's own.

    Args:
        name: Name of an argument of SFTConfig.
        value: Value from YAML.

    Returns:
        The converted value, and a description of the allowed values, None if it is valid.
    """
    names = {n: getattr(typing, n) for n in ("Any", "Union", "Optional", "Literal")}
    names["__builtins__"] = __builtins__
    try:
        adapter = TypeAdapter(eval(read_annotations()[name], names))  # noqa: S307 - TRL's source
    except (KeyError, NameError, TypeError, SyntaxError):
        return value, None
    try:
        return adapter.validate_python(value), None
    except ValidationError as error:
        return value, describe_allowed_values(error.errors())


def validate_sft_arguments(raw: Any) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Return the typed arguments per experiment, and one message per error."""
    typed: dict[str, dict[str, Any]] = {}
    errors = []
    for experiment in get_mapping(raw, "experiments"):
        typed[experiment] = {}
        arguments = get_mapping(raw, "experiments", experiment, "training", "arguments")
        for name, value in arguments.items():
            if not isinstance(name, str):
                continue  # pydantic reports it
            typed[experiment][name], allowed = validate_argument(name, value)
            if error := find_argument_error(name, value, allowed):
                errors.append(f"experiments.{experiment}.training.arguments.{name}: {error}")
    return typed, errors


def find_argument_error(name: str, value: Any, allowed: str | None) -> str | None:
    """Find the error of one argument.

    Args:
        name: Name of the argument.
        value: Value from YAML.
        allowed: The second result of ``validate_argument``.

    Returns:
        What is wrong, and what is allowed; None if nothing is.
    """
    known = read_annotations()
    if name in RESERVED:
        return f"cannot be set; {RESERVED[name]}"
    if known and name not in known:
        return f"SFTConfig has no such argument{suggest_spelling(name, known)}"
    if name == "optim" and known and value not in list_optimizers():
        hint = suggest_spelling(value, list_optimizers())
        allowed = f"adopt, or an optimizer of transformers{hint}"
    return f"{abbreviate(value)} is not allowed; allowed: {allowed}" if allowed else None


def replace_sft_arguments(
    typed_arguments: dict[str, dict[str, Any]], configuration: Configuration
) -> Configuration:
    """Return the configuration with the typed arguments of ``validate_sft_arguments``.

    Args:
        typed_arguments: Arguments per experiment.
        configuration: Configuration to copy.

    Returns:
        A copy; the given configuration is not changed.
    """
    experiments = {
        name: e.model_copy(
            update={"training": e.training.model_copy(update={"arguments": typed_arguments[name]})}
        )
        for name, e in configuration.experiments.items()
    }
    return configuration.model_copy(update={"experiments": experiments})
