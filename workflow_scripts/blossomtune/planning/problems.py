"""Compare needs with the machine, and say what does not fit."""

from collections.abc import Callable, Mapping, Sequence

from blossomtune.artifacts.plan import Machine, MemoryPart, StageNeeds

GB = 1e9
LATER_STAGES = ("federate", "train_baseline", "merge", "evaluate", "benchmark", "export")
"""Stages that have not run when a plan is made."""


def add_problems(
    needs: StageNeeds,
    machine: Machine,
    limits: Mapping[str, int],
    list_hints: Callable[[bool], Sequence[str]],
) -> StageNeeds:
    """Return needs with a text per kind of memory that is too small.

    Args:
        needs: Needs of a stage.
        machine: Memory of the machine.
        limits: Main memory in bytes that a cluster gives to a stage, by stage.
        list_hints: Function that lists changes that would save memory; its argument says whether
            of a GPU.

    Returns:
        The needs with problems.
    """
    problems = []
    limit = limits.get(needs.stage, machine.ram)
    source = "resources.mem_mb allows" if needs.stage in limits else "are free"
    if needs.ram and compute_total(needs.ram) > limit:
        problems.append(_describe(needs.ram, "memory", limit, source, list_hints(False)))
    if needs.gpu and machine.gpus and compute_total(needs.gpu) > min(machine.gpus):
        smallest = min(machine.gpus)
        problems.append(_describe(needs.gpu, "a GPU", smallest, "it has", list_hints(True)))
    return needs.model_copy(update={"problems": tuple(problems)})


def find_disk_problem(stages: Sequence[StageNeeds], machine: Machine) -> str | None:
    """Return why the stages that remain cannot write their results, or None if they can.

    Args:
        stages: Needs of all stages.
        machine: Memory of the machine.

    Returns:
        The sum and the free space.
    """
    remaining = [s for s in stages if s.stage in LATER_STAGES]
    needed = sum(stage.disk or 0 for stage in remaining)
    if needed <= machine.disk:
        return None
    sums = ", ".join(f"{s.stage} {s.block} {(s.disk or 0) / GB:.1f}" for s in remaining if s.disk)
    return (
        f"the results need {needed / GB:.1f} GB of disk, and {machine.disk / GB:.1f} GB are free: "
        f"{sums}"
    )


def compute_total(parts: Sequence[MemoryPart]) -> int:
    """Return the bytes of all parts."""
    return sum(part.total for part in parts)


def _describe(
    parts: Sequence[MemoryPart], kind: str, limit: int, source: str, hints: Sequence[str]
) -> str:
    """Return the sum of memory, the limit, and the changes that would help."""
    terms = " + ".join(_format_part(part) for part in parts if part.total)
    lines = [
        f"needs {compute_total(parts) / GB:.1f} GB of {kind}, {limit / GB:.1f} GB {source}: {terms}"
    ]
    lines += [f"  - {hint}" for hint in hints]
    return "\n".join(lines)


def _format_part(part: MemoryPart) -> str:
    times = f"{part.count} × " if part.count > 1 else ""
    return f"{times}{part.size / GB:.2f} {part.part}"
