"""Check the workflow on a machine with a GPU: print a table and write JSON.

Run by ``make gpu-check``. Each check passes, fails, or could not run, and the last two have a
reason. The exit code is 0 if all checks passed, 1 if one did not, and 2 without a GPU.
"""

import argparse
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / name) for name in ("workflow_scripts", "tests", "tests/unit")]

import random_model  # noqa: E402
from card import describe_device, measure_peak  # noqa: E402
from checks import CHECKS, Check, Outcome, run_check  # noqa: E402
from obstacles import find_obstacle  # noqa: E402
from workspace import Workspace, build_config  # noqa: E402

from blossomtune.files import write_json  # noqa: E402
from blossomtune.modeling import devices  # noqa: E402
from blossomtune.package_versions import get_package_versions  # noqa: E402

COLUMNS = ("tokens_per_second", "share_of_peak", "gpu_memory_mb", "base_loss", "federated_accuracy")
EXIT_FAILED, EXIT_WITHOUT_GPU = 1, 2


def main(arguments: list[str] | None = None) -> int:
    """Run the checks; return the exit code."""
    options = parse_arguments(arguments)
    device = devices.select_device(options.device, key="--device")
    if device.type == "cpu" and options.device != "cpu":
        print(
            "error: PyTorch finds no GPU here\n"
            "  hint: on a machine with a GPU, install PyTorch for it; `--device cpu --small` tries "
            "the checks without one",
            file=sys.stderr,
        )
        return EXIT_WITHOUT_GPU
    folder = options.folder or ROOT / "results" / (
        "gpu-check-small" if options.small else "gpu-check"
    )
    workspace = Workspace(folder, build_config(device.type, small=options.small))
    if options.small:
        random_model.write_small_inputs(folder)
    report: dict[str, Any] = {
        "small": options.small,
        "device": describe_device(device),
        "packages": get_package_versions(),
        "peak_tflops": round(measure_peak(device, 512 if options.small else 8192) / 1e12, 3),
        "checks": [],
    }
    outcomes: dict[str, Outcome] = {}
    for check in select_checks(options.only):
        start = time.perf_counter()
        print(f"{check.name}: {check.title} ...", flush=True)
        outcome = run_safely(check, workspace, device.type, report["peak_tflops"] * 1e12, outcomes)
        outcomes[check.name] = outcome
        report["checks"].append(
            {
                "name": check.name,
                "title": check.title,
                "status": outcome.status,
                "reasons": outcome.reasons,
                "seconds": round(time.perf_counter() - start, 1),
                **outcome.measured,
            }
        )
        write_json(folder / "gpu-check.json", report)
    print(format_table(report))
    print(f"\nJSON: {folder / 'gpu-check.json'}")
    passed = all(outcome.status == "passed" for outcome in outcomes.values())
    return 0 if passed else EXIT_FAILED


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="auto", help="auto, cuda, xpu, mps or cpu")
    parser.add_argument("--small", action="store_true", help="a tiny model and few steps")
    parser.add_argument("--folder", type=Path, help="folder for results; used again if it exists")
    names = [check.name for check in CHECKS]
    parser.add_argument("--only", nargs="+", choices=names, help="checks, with what they need")
    return parser.parse_args(arguments)


def select_checks(names: list[str] | None) -> list[Check]:
    """Return the checks of the names, and those that they are compared with, in order."""
    chosen = set(names or [check.name for check in CHECKS])
    chosen |= {check.reference for check in CHECKS if check.name in chosen and check.reference}
    return [check for check in CHECKS if check.name in chosen]


def run_safely(
    check: Check, workspace: Workspace, device: str, peak: float, outcomes: dict[str, Outcome]
) -> Outcome:
    """Run a check; an error becomes its outcome."""
    if obstacle := find_obstacle(check.name, workspace.folder, device):
        return Outcome(check.name, "could not run", [obstacle])
    try:
        if check.name == "random-1b":
            prepare_random_model(workspace)
        return run_check(check, workspace, device, peak, outcomes)
    except Exception as error:
        return Outcome(check.name, "failed", [str(error) or type(error).__name__])


def prepare_random_model(workspace: Workspace) -> None:
    """Write the random model with the default model's tokenizer; its fetching comes first."""
    name = workspace.config["experiments"]["plain"]["model"]
    workspace.build(f"models/{name}.checksums.json")
    source = workspace.folder / "results/models" / name
    is_small = (workspace.folder / "models/tiny").is_dir()
    shape = random_model.SMALL if is_small else random_model.LARGE
    random_model.write_random_model(workspace.folder / "models/random-1b", source, shape)


def format_table(report: dict[str, Any]) -> str:
    """Return the table of all checks, with the reasons below."""
    device = report["device"]
    lines = [f"\n{device['name']}: {report['peak_tflops']} TFLOP/s in a bfloat16 product"]
    titles = ("check", "status", "s", "tokens/s", "of peak", "GPU MB", "base loss", "accuracy")
    rows = [titles]
    for check in report["checks"]:
        values = [check.get(column) for column in COLUMNS]
        cells = ["" if value is None else f"{value:.4g}" for value in values]
        rows.append((check["title"], check["status"], f"{check['seconds']:.0f}", *cells))
    widths = [max(len(row[i]) for row in rows) for i in range(len(titles))]
    lines += ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in rows]
    for check in report["checks"]:
        lines += [f"{check['name']} {check['status']}: {reason}" for reason in check["reasons"]]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
