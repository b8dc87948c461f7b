"""Train a federation whose run file the workflow has written, without Snakemake."""

import argparse
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blossomtune.cli import build_parser

if TYPE_CHECKING:
    from blossomtune.federation.run import FederatedRun

ENGINES = ("simulation", "process")
"""Engines that need nothing but this package."""


def main() -> None:
    """Run the federation, or resume it after its last checkpoint."""
    parser = build_parser(__doc__, has_config=False)
    parser.add_argument(
        "run", type=Path, help="run file: results/runs/<experiment>/run.json of the workflow"
    )
    parser.add_argument(
        "--set",
        type=_parse_override,
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="another value of a setting, as in federation.rounds=5",
    )
    parser.add_argument("--engine", choices=ENGINES, help="by default, that of the run file")
    parser.add_argument("--output", type=Path, help="folder of the results; by default, the file's")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()

    from blossomtune.deployment.train_on_engine import train_on_engine
    from blossomtune.federation.run_overrides import apply_overrides, load_prepared_run

    output = (args.output or args.run.parent).absolute()
    outputs = {"adapter": "adapter", "history": "history.json", "checkpoints": "checkpoints"}
    paths = {f"paths.{key}": str(output / name) for key, name in outputs.items()}
    run = _select_engine(load_prepared_run(args.run), args.engine)
    run = apply_overrides(run, (paths if args.output else {}) | dict(args.set))
    resources = run.resources.model_copy(update={"cores": args.cores})
    train_on_engine(run.model_copy(update={"resources": resources}), output / "logs")


def _select_engine(run: "FederatedRun", name: str | None) -> "FederatedRun":
    """Return the run with another engine; raise UserError for one that needs the repository."""
    from blossomtune.config.federation import FederationSettings
    from blossomtune.errors import UserError

    federation = run.spec.federation
    if name is None and federation.engine.name in ENGINES:
        return run
    if name is None:
        raise UserError(
            f"federation.engine: {federation.engine.name} is for runs of the workflow",
            f"add --engine with one of {', '.join(ENGINES)}",
        )
    settings = FederationSettings.model_validate(federation.model_dump() | {"engine": name})
    return run.model_copy(update={"spec": run.spec.model_copy(update={"federation": settings})})


def _parse_override(text: str) -> tuple[str, Any]:
    """Return key and value of ``KEY=VALUE``; a value that is no JSON is text."""
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value
