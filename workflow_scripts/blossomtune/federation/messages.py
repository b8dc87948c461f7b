"""What travels: the contents of Flower's messages, packed on one side and read on the other.

To a client go the adapter at its rank, what was added to the base since its last round, and
SCAFFOLD's control; back come the trained part of the adapter and numbers. In a precision below
float32 clients send by how much the adapter changed, which needs fewer digits.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord, RecordDict
from flwr.supercore.differential_privacy import KEY_NORM_BIT

from blossomtune.federation import wire
from blossomtune.federation.adapter import State, check
from blossomtune.federation.naming import Folds, above, below, named, unnamed
from blossomtune.federation.worker import Answer, Order

ADAPTER, FOLDED, CONTROL, ROUND, METRICS = "adapter", "folded", "control", "round", "metrics"
"""Names of the records in a message."""

NUMBERS = (
    *("num-examples", "num-tokens", "num-steps", "train-loss", "batch-size", "seconds"),
    "gpu-memory",
)
"""What a client's answer says besides tensors; the last is in bytes, and 0 on a CPU."""

SCORE = 1000
"""Bytes that no client's score of an adapter goes beyond."""

FOLD_PRECISION = {"float32": "float32", "bfloat16": "bfloat16", "int8": "bfloat16"}
"""What is added to a base stays there: nothing of it can be sent later, as int8 would want."""


def order(
    adapter: ArrayRecord,
    round_: int,
    last: int,
    run: str,
    *,
    folded: ArrayRecord | None = None,
    control: ArrayRecord | None = None,
    besides: Mapping[str, float] | None = None,
) -> RecordDict:
    """The content of a message to a client."""
    said = ConfigRecord({"round": round_, "last": last, "run": run, **(besides or {})})
    content = RecordDict({ADAPTER: adapter, ROUND: said})
    for name, record in ((FOLDED, folded), (CONTROL, control)):
        if record is not None:
            content[name] = record
    return content


def read_order(content: RecordDict) -> Order:
    """What a client is asked.

    Raises:
        ValueError: where the run's name is none, since a client makes a folder of it.
    """
    run = str(content[ROUND]["run"])
    if not re.fullmatch(r"[0-9a-f]{16}", run):
        raise ValueError(f"the server's message is of run {run!r}, which is no run's name")
    return Order(
        round=int(content[ROUND]["round"]),
        last=int(content[ROUND]["last"]),
        run=run,
        state=wire.decode(content[ADAPTER]),
        folded=unnamed(wire.decode(content[FOLDED])) if FOLDED in content else {},
        control=wire.decode(content[CONTROL]) if CONTROL in content else None,
    )


def folds(folded: Folds, precision: str) -> ArrayRecord:
    """Updates of the base as they travel."""
    return wire.encode(named(folded), FOLD_PRECISION[precision])[0]


def answer(given: Answer, precision: str) -> tuple[RecordDict, State]:
    """The content of a client's message, and what the client keeps for its next round."""
    kept = dict(given.kept)
    if precision == "float32":
        record, _ = wire.encode(given.state, precision)
    else:
        change = {name: value - given.start[name] for name, value in given.state.items()}
        record, residual = wire.encode(change, precision, below("residual", kept))
        if precision == "int8":  # changes lose no more than a 256th of themselves as bfloat16
            kept |= above("residual", residual)
    content = RecordDict({ADAPTER: record, METRICS: MetricRecord(given.metrics)})
    if given.control is not None:
        content[CONTROL] = wire.encode(given.control, "float32")[0]
    return content, kept


def read_answer(
    content: RecordDict, start: State, precision: str, *, scaffold: bool
) -> tuple[State, State | None]:
    """The trained part of a client's adapter, and SCAFFOLD's change, checked.

    Args:
        content: of the client's message.
        start: the trained part as the client got it.
        precision: of the federation.
        scaffold: whether a control is expected.

    Raises:
        ValueError: where something is missing, malformed or not finite.
    """
    wanted = [ADAPTER, METRICS, *([CONTROL] if scaffold else [])]
    if missing := [name for name in wanted if name not in content]:
        raise ValueError(f"the reply holds no {missing[0]}")
    state = wire.decode(content[ADAPTER])
    check(state, start)
    if precision != "float32":
        state = {name: start[name] + value for name, value in state.items()}
        check(state, start)
    if not scaffold:
        return state, None
    control = wire.decode(content[CONTROL])
    check(control, start)
    return state, control


def read_numbers(content: RecordDict) -> dict[str, Any]:
    """What a client says of its training, as history.json has it.

    Raises:
        ValueError: where a number is missing or senseless.
    """
    said = content[METRICS]
    numbers = {name: said.get(name) for name in NUMBERS}
    for name, value in numbers.items():
        if not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise ValueError(f"the reply says {value!r} for {name}")
    if not numbers["num-examples"]:
        raise ValueError("the reply comes from no examples")
    memory = math.ceil(numbers["gpu-memory"] / 1e6)
    return {
        "examples": int(numbers["num-examples"]),
        "tokens": int(numbers["num-tokens"]),
        "steps": int(numbers["num-steps"]),
        "batch_size": int(numbers["batch-size"]),
        "train_loss": round(numbers["train-loss"], 6),
        "seconds": round(numbers["seconds"], 3),
        **({"gpu_memory_mb": memory} if memory else {}),
    }


def read_score(content: RecordDict) -> dict[str, Any] | None:
    """A client's score of the adapter that it was sent; None for nonsense."""
    said = content.get(METRICS, {})
    loss, rows = said.get("loss"), said.get("rows")
    if not all(isinstance(v, float) and math.isfinite(v) and v > 0 for v in (loss, rows)):
        return None
    return {"loss": round(loss, 6), "rows": int(rows)}


def expected(start: State, precision: str, *, scaffold: bool, norm_bit: bool) -> int:
    """Bytes that a client's answer does not go beyond, whatever its numbers are.

    Args:
        start: the trained part as the client gets it.
        precision: of the federation.
        scaffold: whether a control comes with it.
        norm_bit: whether it says if it was clipped (``privacy.sends_norm_bit``).
    """
    # no two pieces alike: Flower sends what stands there twice only once
    generator = torch.Generator().manual_seed(0)
    state = {n: torch.randn(v.shape, generator=generator) for n, v in start.items()}
    content = RecordDict({ADAPTER: wire.encode(state, precision)[0]})
    numbers = [*NUMBERS, *([KEY_NORM_BIT] if norm_bit else [])]
    content[METRICS] = MetricRecord({name: i / 3 for i, name in enumerate(numbers)})
    if scaffold:
        other = {name: value + 1 for name, value in state.items()}
        content[CONTROL] = wire.encode(other, "float32")[0]
    return wire.size(content)
