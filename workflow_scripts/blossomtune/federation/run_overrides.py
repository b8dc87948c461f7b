"""Override settings of a prepared run: ``flwr run --run-config`` and ``blossomtune run --set``.

Flower checks no types, so overrides pass the checks of the configuration.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from blossomtune.artifacts.files import read_artifact
from blossomtune.artifacts.provenance import Provenance
from blossomtune.artifacts.tokenized_manifest import TokenizedManifest
from blossomtune.config.block_conflicts import find_participation_conflicts
from blossomtune.config.conflicts import find_conflicts
from blossomtune.config.error_messages import describe_allowed_values
from blossomtune.config.experiments import ExperimentSettings
from blossomtune.config.federation import FederationSettings
from blossomtune.config.sft_arguments import find_argument_error, validate_argument
from blossomtune.config.training import TrainingSettings
from blossomtune.errors import UserError, abbreviate, find_closest_match
from blossomtune.federation.build_spec import require_two_adopt_steps
from blossomtune.federation.paths import ServerPaths
from blossomtune.federation.run import FederatedRun
from blossomtune.federation.spec import FederationSpec

APP_KEYS = {"run", "client-run"}
"""Keys of ``--run-config`` that say which run it is."""

AS_PREPARED = ""
"""Value that overrides nothing. Flower's app must list each key with a value."""

ARGUMENTS = (
    *("gradient_accumulation_steps", "max_grad_norm", "max_steps", "num_train_epochs", "optim"),
    *("per_device_train_batch_size", "weight_decay"),
)
"""Arguments of SFTConfig that ``--run-config`` takes; Flower refuses keys that are not listed."""

_LEFT_OUT = {"tls", "engine", "strategy", "secret"}
"""Keys of the engine, blocks with a choice, and the server's secret, which clients do not see."""

_PREPARED_BLOCKS = ("models", "datasets", "partitions", "preprocessing", "lora", "model", "clients")


_PREPARE_HINT = "change the configuration, and let the workflow prepare another run"


def list_override_keys() -> list[str]:
    """Return the keys that may be overridden, with dots between blocks."""
    keys = ["seed", *_list_scalars(TrainingSettings, "training")]
    keys += [f"training.arguments.{name}" for name in ARGUMENTS]
    keys += _list_scalars(FederationSettings, "federation")
    return keys + [f"paths.{name}" for name in ServerPaths.model_fields]


def _list_scalars(block: type[BaseModel], prefix: str) -> Iterator[str]:
    """Yield the keys of a block and of the blocks in it, without unions of blocks."""
    for name, field in block.model_fields.items():
        types = [field.annotation, *get_args(field.annotation)]
        blocks = [t for t in types if isinstance(t, type) and issubclass(t, BaseModel)]
        if name in _LEFT_OUT:
            continue
        if len(blocks) == 1:
            yield from _list_scalars(blocks[0], f"{prefix}.{name}")
        elif not blocks and field.annotation != dict[str, Any]:
            yield f"{prefix}.{name}"


def load_prepared_run(path: Path) -> FederatedRun:
    """Load a run that the workflow has written.

    Args:
        path: The run file.

    Returns:
        The run.

    Raises:
        UserError: If there is no file, it is no run file of this version, or it is a client's.
    """
    try:
        run = FederatedRun.load(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise UserError(f"{path} is no run file of this version: {str(error)[:500]}") from None
    if not isinstance(run.paths, ServerPaths):
        raise UserError(f"{path} is the run file of a client", "name that of the server")
    return run


def apply_overrides(
    run: FederatedRun, values: Mapping[str, Any], *, with_paths: bool = True
) -> FederatedRun:
    """Return a run with other settings.

    Args:
        run: The run as it was prepared.
        values: Values by key; those of ``APP_KEYS`` are left out.
        with_paths: Whether paths are overridden; a client with a run file of its own keeps its own.

    Returns:
        The run, validated like a configuration.

    Raises:
        UserError: If a key is unknown or belongs to what was prepared, a value is not allowed, or
            settings do not work together.
    """
    known = list_override_keys()
    spec, paths = _dump(run.spec), _dump(run.paths)
    has_changes = False
    for key, value in values.items():
        if value == AS_PREPARED or key in APP_KEYS:
            continue
        if key not in known:
            raise UserError(*_describe_unknown_key(key, known))
        has_changes = True
        block, _, name = key.rpartition(".")
        if block == "paths":
            if with_paths and name in paths:
                paths[name] = _read_path(key, value)
        elif block == "training.arguments":
            spec["training"]["arguments"][name] = _validate_argument(name, value)
        else:
            _set_value(spec, key, value)
    if not has_changes:
        return run
    changed = run.model_copy(
        update={"spec": _validate(spec), "paths": type(run.paths).model_validate(paths)}
    )
    _check_conflicts(changed.spec)
    if changed.paths.preprocessed != run.paths.preprocessed:
        _require_prepared_rows(changed)
    if changed.paths.model != run.paths.model:
        _require_prepared_model(changed)
    return changed


def _dump(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json")


def _read_path(key: str, value: Any) -> str:
    if not isinstance(value, str):
        raise UserError(f"{key}: {abbreviate(value)} is not allowed; allowed: a path")
    return str(Path(value).absolute())


def _set_value(spec: dict[str, Any], key: str, value: Any) -> None:
    *blocks, name = key.split(".")
    node = spec
    for block in blocks:
        if node[block] is None:
            node[block] = {}  # as `privacy: {}` in the configuration: its defaults
        node = node[block]
    node[name] = value


def _validate_argument(name: str, value: Any) -> Any:
    typed, allowed = validate_argument(name, value)
    if error := find_argument_error(name, value, allowed):
        raise UserError(f"training.arguments.{name}: {error}")
    return typed


def _validate(spec: dict[str, Any]) -> FederationSpec:
    """Return a valid specification; raise UserError with the key and what is allowed."""
    try:
        return FederationSpec.model_validate(spec)
    except ValidationError as error:
        errors = error.errors()
    first = errors[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "value_error":
        raise UserError(f"{key}: {first['ctx']['error']}")
    same = [details for details in errors if details["loc"] == first["loc"]]
    raise UserError(
        f"{key}: {abbreviate(first['input'])} is not allowed; "
        f"allowed: {describe_allowed_values(same)}"
    )


def _check_conflicts(spec: FederationSpec) -> None:
    experiment = ExperimentSettings(
        **dict.fromkeys(("model", "partition", "preprocessing"), "prepared"),
        lora=spec.lora.model_copy(update={"ranks": [client.rank for client in spec.clients]}),
        training=spec.training,
        federation=spec.federation,
    )
    has_validation_rows = any(client.num_validation_rows for client in spec.clients)
    num_clients = len(spec.clients)
    conflicts = [
        *find_conflicts(experiment, num_clients, has_validation_rows),
        *find_participation_conflicts(spec.federation, num_clients),
    ]
    for key, reason in conflicts:
        raise UserError(f"{key}: {reason}")
    require_two_adopt_steps(spec.training, spec.clients)


def _require_prepared_rows(run: FederatedRun) -> None:
    folder = run.paths.preprocessed
    manifest = read_artifact(folder / "manifest.json", TokenizedManifest)
    rows = {client.client: client.num_examples for client in manifest.clients}
    if any(rows.get(i, 0) != client.num_rows for i, client in enumerate(run.spec.clients)):
        raise UserError(f"paths.preprocessed: {folder} has other rows", _PREPARE_HINT)


def _require_prepared_model(run: FederatedRun) -> None:
    folder, expected = run.paths.model, run.spec.base_model_name
    provenance = read_artifact(folder / "provenance.json", Provenance)
    name = provenance.get_repository(default=folder.name)
    if name != expected:
        raise UserError(
            f"paths.model: {folder} is {name}, and the run was prepared with {expected}",
            _PREPARE_HINT,
        )


def _describe_unknown_key(key: str, known: list[str]) -> tuple[str, str]:
    if key.partition(".")[0] in _PREPARED_BLOCKS:
        return (
            f"{key}: the run was prepared with it",
            _PREPARE_HINT,
        )
    near = find_closest_match(key, known)
    hint = f"did you mean {near!r}? " if near else ""
    return f"{key}: unknown key", f"{hint}allowed: {', '.join(known)}"
