"""Compare the federated model's answers with those of other models by a judge model."""

from pathlib import Path

from blossomtune.artifacts.answers import read_answers
from blossomtune.artifacts.files import write_artifact
from blossomtune.cli import build_parser, run_script
from blossomtune.judging.compare import compare_answers


def main() -> None:
    """Read the answers, request the verdicts and write the win rates."""
    parser = build_parser(__doc__)
    for name in ("answers", "output"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True, metavar="DIR")
    args = parser.parse_args()

    results = compare_answers(read_answers(args.answers), args.config, args.cache)
    write_artifact(args.output, results)
    for name, pair in results.pairs.items():
        rate = pair.win_rate
        print(
            f"federated wins {rate.value:.1%} against {name} on {pair.rows} rows "
            f"(95 % interval {rate.low:.1%} to {rate.high:.1%}; {pair.ties} ties)"
        )


if __name__ == "__main__":
    run_script(main)
