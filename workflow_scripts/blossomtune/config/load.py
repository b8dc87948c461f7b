"""From what YAML said to a Configuration, or to all that is wrong with it at once."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from blossomtune.config import arguments
from blossomtune.config.blocks import Configuration, Experiment
from blossomtune.errors import UserError, nearest


class ConfigurationError(UserError):
    """Every fault of a configuration: key's full path, value, what is allowed, a hint."""

    def __init__(self, faults: list[str]) -> None:
        count = "1 error" if len(faults) == 1 else f"{len(faults)} errors"
        super().__init__(f"{count} in the configuration\n" + "\n".join(f"  {f}" for f in faults))


def load(raw: Mapping[str, Any]) -> Configuration:
    """Checks a configuration.

    Args:
        raw: nested dictionaries as YAML gives them.

    Returns:
        The configuration, all defaults filled in.

    Raises:
        ConfigurationError: with all faults, not only the first.
    """
    try:
        configuration = Configuration.model_validate(raw)
    except ValidationError as error:
        raise ConfigurationError([_explain(fault, raw) for fault in error.errors()]) from None
    faults = list(_references(configuration))
    experiments = {}
    for name, experiment in configuration.experiments.items():
        checked, wrong = _arguments(f"experiments.{name}.training.arguments", experiment)
        experiments[name] = checked
        faults += wrong + list(_contradictions(f"experiments.{name}", checked, configuration))
    if faults:
        raise ConfigurationError(faults)
    return configuration.model_copy(update={"experiments": experiments})


def _path(loc: Sequence[str | int], raw: Any) -> tuple[str, list[str | int]]:
    """The key's full path as text and as steps.

    Between the keys, pydantic names the member of a union that it tried; those parts are left out.
    The last part is kept even where it is not in ``raw``: the key that is missing.
    """
    steps: list[str | int] = []
    at = raw
    for i, part in enumerate(loc):
        inside = (
            at.keys() if isinstance(at, Mapping) else range(len(at) if isinstance(at, list) else 0)
        )
        if part in inside:
            at = at[part]
        elif i < len(loc) - 1 or not isinstance(at, Mapping):
            continue
        steps.append(part)
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".") or "(top level)", steps


def _block_at(steps: list[str | int], raw: Any) -> list[str]:
    """The keys that the block at this path may have."""
    model: Any = Configuration
    at = raw
    for step in steps:
        at = at.get(step) if isinstance(at, Mapping) else None
        if isinstance(model, type) and issubclass(model, BaseModel):
            field = model.model_fields.get(str(step))
            model = field.annotation if field else None
        else:
            model = get_args(model)[-1] if get_args(model) else None
        model = _member(model, at)
    if isinstance(model, type) and issubclass(model, BaseModel):
        return list(model.model_fields)
    return []


def _member(annotation: Any, value: Any) -> Any:
    """Of a union of blocks, the one that ``value``'s discriminator names."""
    candidates = [
        a for a in _flatten(annotation) if isinstance(a, type) and issubclass(a, BaseModel)
    ]
    for candidate in candidates:
        for key, field in candidate.model_fields.items():
            if isinstance(value, Mapping) and value.get(key) in get_args(field.annotation):
                return candidate
    return candidates[0] if len(candidates) == 1 else annotation


def _flatten(annotation: Any) -> list[Any]:
    if getattr(annotation, "__origin__", None) is dict:
        return []
    inner = get_args(annotation)
    return [annotation, *(a for i in inner for a in _flatten(i))]


def _explain(fault: Any, raw: Any) -> str:
    path, steps = _path(fault["loc"], raw)
    kind, value, context = fault["type"], fault["input"], fault.get("ctx", {})
    if kind == "extra_forbidden":
        known = _block_at(steps[:-1], raw)
        near = nearest(str(steps[-1]), known)
        hint = f"did you mean {near!r}? " if near else ""
        return f"{path}: unknown key (value {_short(value)}); {hint}allowed: {', '.join(known)}"
    if kind == "missing":
        return f"{path}: missing; this key is required"
    if kind in ("union_tag_invalid", "literal_error"):
        allowed = context.get("expected_tags") or context.get("expected", "")
        if kind == "union_tag_invalid":
            path, value = f"{path}.{context['discriminator'].strip(chr(39))}", context["tag"]
        words = [w.strip(" '") for w in allowed.replace(" or ", ",").split(",")]
        near = nearest(str(value), words)
        hint = f"; did you mean {near!r}?" if near and near != value else ""
        return f"{path}: {_short(value)} is not allowed; allowed: {', '.join(words)}{hint}"
    if kind == "union_tag_not_found":
        return f"{path}: key {context['discriminator']} is missing; it says which kind this is"
    return f"{path}: {_short(value)} is not allowed; {fault['msg'][0].lower()}{fault['msg'][1:]}"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _unknown(path: str, value: str, section: str, known: Iterable[str]) -> str:
    names = list(known)
    near = nearest(value, names)
    hint = f"did you mean {near!r}? " if near else ""
    listed = ", ".join(names) if names else "none"
    return f"{path}: {value!r} is not a block of {section}; {hint}known: {listed}"


def _references(configuration: Configuration) -> Iterable[str]:
    """Faults where a block names another that is not there."""
    for i, name in enumerate(configuration.run):
        if name not in configuration.experiments:
            yield _unknown(f"run[{i}]", name, "experiments", configuration.experiments)
    for name, partition in configuration.partitions.items():
        if partition.dataset not in configuration.datasets:
            yield _unknown(
                f"partitions.{name}.dataset", partition.dataset, "datasets", configuration.datasets
            )
    for name, experiment in configuration.experiments.items():
        for key, section in (
            ("model", "models"),
            ("partition", "partitions"),
            ("preprocessing", "preprocessing"),
        ):
            value, known = getattr(experiment, key), getattr(configuration, section)
            if value not in known:
                yield _unknown(f"experiments.{name}.{key}", value, section, known)


def _arguments(path: str, experiment: Experiment) -> tuple[Experiment, list[str]]:
    """The experiment with SFTConfig's arguments in their types, and what is wrong with them."""
    faults, typed, known = [], {}, arguments.annotations()
    for name, value in experiment.training.arguments.items():
        if name in arguments.RESERVED:
            faults.append(f"{path}.{name}: cannot be set; {arguments.RESERVED[name]}")
        elif known and name not in known:
            near = nearest(name, list(known))
            hint = f"; did you mean {near!r}?" if near else ""
            faults.append(f"{path}.{name}: SFTConfig has no such argument{hint}")
        elif known:
            typed[name], wrong = arguments.check(name, value)
            if wrong:
                faults.append(f"{path}.{name}: {_short(value)} is not allowed; {wrong}")
        else:
            typed[name] = value
    training = experiment.training.model_copy(update={"arguments": typed})
    return experiment.model_copy(update={"training": training}), faults


def _contradictions(path: str, e: Experiment, whole: Configuration) -> Iterable[str]:
    """Faults of values that are fine alone and wrong together."""
    low, high = e.training.learning_rate_min, e.training.learning_rate_max
    if low > high:
        yield f"{path}.training.learning_rate_min: {low} is above learning_rate_max ({high})"
    partition = whole.partitions.get(e.partition)
    if partition is None:
        return
    sampled = max(1, round(e.federation.fraction_train * partition.num_partitions))
    if e.federation.min_clients > sampled:
        yield (
            f"{path}.federation.min_clients: {e.federation.min_clients} can never be reached; "
            f"fraction_train {e.federation.fraction_train} of {partition.num_partitions} clients "
            f"is {sampled} a round"
        )
    repeated = {c for c in e.evaluation.choices if e.evaluation.choices.count(c) > 1}
    if repeated:
        yield f"{path}.evaluation.choices: {sorted(repeated)} stands there twice"
    elif len(e.evaluation.choices) == 1:
        yield f"{path}.evaluation.choices: {e.evaluation.choices} is no choice; give two or more"
