"""Check the audit logs of federations, and their adapters and histories against them."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Check the named experiments, or all that have a history."""
    from blossomtune.artifacts.audit_log import AUDIT_LOG_FILE
    from blossomtune.auditing.verify_results import verify_results
    from blossomtune.errors import UserError

    parser = build_parser(__doc__, has_config=False)
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help="by default all")
    parser.add_argument("--results", type=Path, default=Path("results"), metavar="DIR")
    parser.add_argument("--includes", metavar="SHA256", help="which an entry must have")
    args = parser.parse_args()
    histories = sorted(args.results.glob("experiments/*/history.json"))
    names = args.experiments or [path.parent.name for path in histories]
    if not names:
        raise UserError(
            f"{args.results} has no finished federation", "--results names another folder"
        )
    known = set()
    for name in names:
        log_path = args.results / "checkpoints" / name / AUDIT_LOG_FILE
        entries = verify_results(args.results / "experiments" / name, log_path)
        known |= {entry.sha256 for entry in entries}
        print(f"{name}: {len(entries)} entries, the last one is {entries[-1].sha256}")
    if args.includes and args.includes not in known:
        raise UserError(
            f"no entry has the SHA-256 {args.includes}",
            "entries have been removed from the end of a log, or another log took its place",
        )


if __name__ == "__main__":
    run_script(main)
