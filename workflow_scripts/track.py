"""Log the rounds of an experiment to its trackers."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Log what the trackers lack of a finished experiment, or follow one that runs."""
    from blossomtune.errors import UserError
    from blossomtune.tracking.follow import follow_rounds, read_rounds
    from blossomtune.tracking.track_rounds import RoundTracking

    parser = build_parser(__doc__)
    parser.add_argument("--rounds", type=Path, required=True, help="history.json or progress.json")
    parser.add_argument("--folder", type=Path, required=True, help="of all trackers")
    parser.add_argument("--experiment", required=True)
    parser.add_argument("--follow", action="store_true", help="until stdin ends")
    args = parser.parse_args()
    tracking = RoundTracking(args.config["trackers"], args.folder.resolve(), args.experiment)
    try:
        for rounds in follow_rounds(args.rounds) if args.follow else [read_rounds(args.rounds)]:
            tracking.log(rounds)
    finally:
        tracking.finish()
    if tracking.failed:
        raise UserError(
            f"rounds were not logged to {', '.join(sorted(tracking.failed))}",
            "the error is above; run again, and only the tracking is repeated",
        )


if __name__ == "__main__":
    run_script(main)
