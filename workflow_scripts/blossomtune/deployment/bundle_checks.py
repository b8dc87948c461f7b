"""Check an invitation before anything in it is used: its author is another organisation."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from blossomtune.config.base import Name
from blossomtune.config.datasets import DatasetSettings
from blossomtune.config.federation import FederationSettings
from blossomtune.config.lora import LoraSettings
from blossomtune.config.partitions import LocalPartition
from blossomtune.config.preprocessing import PreprocessingSettings
from blossomtune.config.sft_arguments import find_argument_error, validate_argument
from blossomtune.config.sources import ModelSettings
from blossomtune.config.training import TrainingSettings
from blossomtune.errors import UserError, abbreviate

MAX_LEARNING_RATE = 1.0
"""Above it, training destroys a model. LoRA is trained with 1e-5 to 1e-2."""

MAX_ROUNDS = 100_000

_TEXT_ARGUMENTS = {"optim", "optim_args"}
"""Training arguments that may be text. Other texts name files, addresses or packages."""


def check_settings(settings: Mapping[str, Any], client: str, superlink: str) -> None:
    """Check the settings of an invitation.

    Args:
        settings: Its ``model``, ``federate``, ``partition`` and ``preprocessing``.
        client: Name of the invited client.
        superlink: Address of the SuperLink.

    Raises:
        UserError: If a setting is unknown, has a value that is not allowed, or names a file, an
            address or a package where only the client's owner may name one.
    """
    try:
        _check_blocks(settings, client, superlink)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        value = abbreviate(first.get("input"))
        raise UserError(f"{error.title}: {key}: {value}: {first['msg']}", _HINT) from None
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{type(error).__name__}: {str(error)[:500]}", _HINT) from None


_HINT = "ask the server's owner for an invitation that this version has written"


def _check_blocks(settings: Mapping[str, Any], client: str, superlink: str) -> None:
    model, federate = settings["model"], dict(settings["federate"])
    TypeAdapter(Name).validate_python(model["name"])  # a folder has this name
    ModelSettings.model_validate(model["config"])
    PreprocessingSettings.model_validate(settings["preprocessing"])
    partition = dict(settings["partition"])
    _check_seed(partition.pop("seed"))
    reading = {"source": {"kind": "path", "path": "."}, **partition.pop("reading")}
    DatasetSettings.model_validate(reading)
    clients = LocalPartition.model_validate(partition).clients or []
    if client not in clients:
        raise ValueError(f"client {client!r} is not one of {', '.join(clients)}")
    _check_seed(federate.pop("seed"))
    LoraSettings.model_validate(federate.pop("lora"))
    _check_training(TrainingSettings.model_validate(federate.pop("training")))
    _check_federation(FederationSettings.model_validate(federate.pop("federation")), superlink)
    if federate:
        raise ValueError(f"unknown settings: {abbreviate(sorted(federate))}")


def _check_seed(seed: Any) -> None:
    if type(seed) is not int:
        raise ValueError(f"seed is {abbreviate(seed)} and not a whole number")


def _check_federation(federation: FederationSettings, superlink: str) -> None:
    engine = federation.engine
    if engine.name != "external" or superlink != f"{engine.host}:{engine.port}":
        raise ValueError(f"the SuperLink's address {abbreviate(superlink)} is not the engine's")
    if federation.rounds > MAX_ROUNDS:
        raise ValueError(f"rounds is {federation.rounds}; at most {MAX_ROUNDS} are allowed")
    if federation.privacy and federation.privacy.secret:
        raise ValueError("privacy.secret names a file, and clients read none")


def _check_training(training: TrainingSettings) -> None:
    if training.learning_rate_max > MAX_LEARNING_RATE:
        raise ValueError(
            f"training.learning_rate_max is {training.learning_rate_max}; "
            f"at most {MAX_LEARNING_RATE} is allowed"
        )
    for name, value in training.arguments.items():
        error = find_argument_error(name, value, validate_argument(name, value)[1])
        if error is None and name not in _TEXT_ARGUMENTS and _has_text(value):
            error = f"{abbreviate(value)} is text, which could name a file or an address"
        if error:
            raise ValueError(f"training.arguments.{name}: {error}")


def _has_text(value: Any) -> bool:
    """Return whether a value is text or holds text, except as keys of a mapping."""
    if isinstance(value, Mapping):
        return any(map(_has_text, value.values()))
    if isinstance(value, list):
        return any(map(_has_text, value))
    return isinstance(value, str)
