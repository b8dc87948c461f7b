"""From what YAML said to a Configuration, or to all that is wrong with it at once."""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from itertools import chain
from operator import getitem
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from blossomtune.config import arguments
from blossomtune.config.blocks import Configuration
from blossomtune.config.combinations import unsound
from blossomtune.config.elsewhere import out_of_reach
from blossomtune.config.partitions import REFUSED
from blossomtune.config.wording import allowed, choices
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
    typed, wrong = _arguments(raw)
    try:
        configuration = _with(typed, Configuration.model_validate(raw))
        faults = list(_contradictions(configuration))
    except ValidationError as error:
        faults = [_explain(fault, raw) for fault in error.errors()]
    faults += [*_references(raw), *wrong]
    if faults:
        raise ConfigurationError(faults)
    return configuration


def _path(loc: Sequence[str | int], raw: Any) -> tuple[str, list[str | int]]:
    """The key's full path as text and as steps.

    Between the keys, pydantic names the member of a union that it tried; those parts are left out,
    also where a member and one of its keys have the same name (`kind: path` has a `path`).
    The last part is kept even where it is not in ``raw``: the key that is missing.
    """
    steps: list[str | int] = []
    at, member = raw, None
    for i, part in enumerate(loc):
        if part == member:
            member = None
            continue
        inside = (
            at.keys() if isinstance(at, Mapping) else range(len(at) if isinstance(at, list) else 0)
        )
        if part in inside:
            at = at[part]
            member = _named(at) if isinstance(at, Mapping) else None
        elif i < len(loc) - 1 or not isinstance(at, Mapping):
            continue
        steps.append(part)
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".") or "(top level)", steps


def _named(at: Mapping[str, Any]) -> Any:
    """The member of a union that a block says it is."""
    return next((at[key] for key in ("kind", "partitioner", "name") if key in at), None)


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
    kind, value, context = fault["type"], fault["input"], fault.get("ctx", {})
    if kind == "invalid_key" or fault["loc"][-1:] == ("[key]",):
        path, _ = _path(fault["loc"][: -1 if kind == "invalid_key" else -2], raw)
        return f"{path}: {_short(value)} is not allowed as a key; allowed: {allowed([fault])}"
    path, steps = _path(fault["loc"], raw)
    if kind == "extra_forbidden":
        known = _block_at(steps[:-1], raw)
        near = nearest(str(steps[-1]), known)
        hint = f"did you mean {near!r}? " if near else ""
        return f"{path}: unknown key (value {_short(value)}); {hint}allowed: {', '.join(known)}"
    if kind == "missing":
        return f"{path}: missing; this key is required"
    if kind == "union_tag_not_found":
        return f"{path}: key {context['discriminator']} is missing; it says which kind this is"
    if kind == "value_error":
        return f"{path}: {context['error']}"
    if kind == "union_tag_invalid":
        value = context["tag"]
        if isinstance(reduce(getitem, steps, raw), Mapping):  # else a name stands for its block
            path += f".{context['discriminator'].strip(chr(39))}"
        if value in REFUSED:
            return f"{path}: {value!r} is not allowed: {REFUSED[value]}"
    named = kind in ("union_tag_invalid", "literal_error")
    hint = _hint(value, choices(fault)) if named else ""
    return f"{path}: {_short(value)} is not allowed; allowed: {allowed([fault])}{hint}"


def _hint(value: Any, known: Iterable[str]) -> str:
    near = nearest(str(value), list(known))
    return f"; did you mean {near!r}?" if near and near != value else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _unknown(path: str, value: str, section: str, known: Iterable[str]) -> str:
    names = [str(name) for name in known]
    near = nearest(value, names)
    hint = f"did you mean {near!r}? " if near else ""
    listed = ", ".join(names) if names else "none"
    return f"{path}: {value!r} is not a block of {section}; {hint}known: {listed}"


def _blocks(raw: Any, *keys: str) -> Mapping[str, Any]:
    """What stands under these keys if it is a block, else an empty one: its fault is told."""
    for key in keys:
        raw = raw.get(key) if isinstance(raw, Mapping) else None
    return raw if isinstance(raw, Mapping) else {}


def _references(raw: Any) -> Iterable[str]:
    """Faults where a block names another that is not there."""
    named = [("partitions", "dataset", "datasets")]
    named += [("experiments", key, key + "s") for key in ("model", "partition")]
    named += [("experiments", "preprocessing", "preprocessing")]
    run = raw.get("run") if isinstance(raw, Mapping) else None
    names = run if isinstance(run, list) else []
    said = [(f"run[{i}]", name, "experiments") for i, name in enumerate(names)]
    for section, key, of in named:
        for name in _blocks(raw, section):
            said.append((f"{section}.{name}.{key}", _blocks(raw, section, name).get(key), of))
    for name in _blocks(raw, "datasets"):
        source = _blocks(raw, "datasets", name, "source")
        members = source.get("datasets") if source.get("kind") == "mixture" else None
        for i, member in enumerate(members if isinstance(members, list) else []):
            said.append((f"datasets.{name}.source.datasets[{i}]", member, "datasets"))
    for path, value, section in said:
        known = _blocks(raw, section)
        if isinstance(value, str) and value not in known:
            yield _unknown(path, value, section, known)


def _arguments(raw: Any) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """SFTConfig's arguments in their types, by experiment, and what is wrong with them."""
    typed: dict[str, dict[str, Any]] = {}
    faults = []
    known = arguments.annotations()
    for experiment in _blocks(raw, "experiments"):
        typed[experiment] = {}
        given = _blocks(raw, "experiments", experiment, "training", "arguments")
        for name, value in given.items():
            if not isinstance(name, str):
                continue  # told already
            path = f"experiments.{experiment}.training.arguments.{name}"
            typed[experiment][name], wrong = arguments.check(name, value)
            if name in arguments.RESERVED:
                faults.append(f"{path}: cannot be set; {arguments.RESERVED[name]}")
            elif known and name not in known:
                faults.append(f"{path}: SFTConfig has no such argument{_hint(name, known)}")
            elif name == "optim" and known and value not in arguments.optimizers():
                hint = _hint(value, arguments.optimizers())
                faults.append(
                    f"{path}: {_short(value)} is not allowed; allowed: adopt, or an optimizer of "
                    f"transformers{hint}"
                )
            elif wrong:
                faults.append(f"{path}: {_short(value)} is not allowed; allowed: {wrong}")
    return typed, faults


def _with(typed: dict[str, dict[str, Any]], whole: Configuration) -> Configuration:
    """The configuration with these arguments of its experiments."""
    experiments = {
        name: e.model_copy(
            update={"training": e.training.model_copy(update={"arguments": typed[name]})}
        )
        for name, e in whole.experiments.items()
    }
    return whole.model_copy(update={"experiments": experiments})


def _members(whole: Configuration, name: str, seen: frozenset[str] = frozenset()) -> set[str]:
    """All data sets that one is mixed from, directly or not."""
    block = whole.datasets.get(name)
    direct = set(getattr(block.source, "datasets", [])) - seen if block else set()
    return direct | {m for d in direct for m in _members(whole, d, seen | direct)}


def _contradictions(whole: Configuration) -> Iterable[str]:
    """Faults of values of two blocks that are fine alone and wrong together."""
    for name in whole.datasets:
        if name in _members(whole, name):
            yield f"datasets.{name}.source.datasets: {name!r} would be mixed from itself"
    for name, cut in whole.partitions.items():
        data, local = whole.datasets.get(cut.dataset), cut.partitioner == "local"
        if data is None:
            continue
        if local and data.source.kind == "mixture":
            yield (
                f"partitions.{name}.dataset: {cut.dataset!r} is a mixture, and a mixture is made "
                "of pooled rows; partitioner local needs a data set that says how files are read"
            )
        if not local and data.test.size == "all" and data.test.source is None:
            yield (
                f"partitions.{name}.dataset: {cut.dataset!r} has test.size: all, so there are no "
                "rows to train on; only partitioner local can do without"
            )
    for name, e in whole.experiments.items():
        partition = whole.partitions.get(e.partition)
        if partition is None:
            continue
        clients = partition.num_partitions
        faults = unsound(e, clients, bool(partition.validation_size))
        for key, why in chain(faults, out_of_reach(e, partition)):
            yield f"experiments.{name}.{key}: {why}"
        sampled = e.federation.sampled(clients)
        if e.federation.min_clients > sampled:
            yield (
                f"experiments.{name}.federation.min_clients: {e.federation.min_clients} can never "
                f"be reached; fraction_train {e.federation.fraction_train} of "
                f"{clients} clients is {sampled} a round"
            )
