"""Print a plan as a table."""

from collections.abc import Sequence

from blossomtune.artifacts.plan import MemoryPart, Plan, StageNeeds
from blossomtune.planning.problems import GB, compute_total

UNKNOWN = "unknown"
COLUMNS = ("stage", "memory", "GPU", "disk", "time", "basis")


def format_plan(plan: Plan) -> str:
    """Return a plan as text: the machine, then one line per job."""
    rows = [COLUMNS, *map(_format_stage, plan.stages)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(COLUMNS))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)) for row in rows]
    machine = plan.machine
    gpus = ", ".join(f"{memory / GB:.1f} GB" for memory in machine.gpus) or "none"
    lines.append(
        f"this machine: {machine.ram / GB:.1f} GB of memory and {machine.disk / GB:.1f} GB of disk "
        f"are free; GPUs: {gpus}"
    )
    return "\n".join(line.rstrip() for line in lines)


def _format_stage(needs: StageNeeds) -> tuple[str, ...]:
    return (
        f"{needs.stage} {needs.block}",
        UNKNOWN if needs.ram is None else _format_memory(needs.ram),
        _format_memory(needs.gpu),
        UNKNOWN if needs.disk is None else f"{needs.disk / GB:.2f} GB",
        UNKNOWN if needs.seconds is None else _format_seconds(*needs.seconds),
        needs.basis,
    )


def _format_memory(parts: Sequence[MemoryPart]) -> str:
    return f"{compute_total(parts) / GB:.1f} GB" if parts else "-"


def _format_seconds(least: float, most: float) -> str:
    low, high = _format_duration(least), _format_duration(most)
    return low if low == high else f"{low} to {high}"


def _format_duration(seconds: float) -> str:
    for limit, unit, size in ((90, "s", 1), (5400, "min", 60)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 3600:.1f} h"
