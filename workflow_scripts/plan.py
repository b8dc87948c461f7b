"""Print what a run needs, memory, disk and time, before anything is trained."""

import json
from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Print the plan and write it; fail if a stage cannot fit."""
    parser = build_parser(__doc__)
    parser.add_argument("--results", type=Path, required=True, metavar="DIR")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE.json")
    parser.add_argument("--cores", type=int, required=True)
    parser.add_argument(
        "--limits",
        type=json.loads,
        default={},
        metavar="JSON",
        help="mem_mb by stage, of a cluster",
    )
    args = parser.parse_args()

    from blossomtune.artifacts.files import write_artifact
    from blossomtune.errors import UserError
    from blossomtune.planning.make_plan import make_plan
    from blossomtune.planning.problems import find_disk_problem
    from blossomtune.planning.table import format_plan

    limits = {stage: megabytes * 10**6 for stage, megabytes in args.limits.items()}
    plan = make_plan(args.config, args.results, args.cores, limits)
    write_artifact(args.output, plan)
    print(format_plan(plan))
    problems = [
        f"{needs.stage} {needs.block} {text}" for needs in plan.stages for text in needs.problems
    ]
    if disk := find_disk_problem(plan.stages, plan.machine):
        problems.append(disk)
    if problems:
        raise UserError("this run does not fit:\n" + "\n".join(problems))


if __name__ == "__main__":
    run_script(main)
