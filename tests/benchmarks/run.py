"""Measures, as ratios: prints a table and writes results/benchmarks/bench.json.

Every measure is a function that returns one row. Rows are never asserted; the bound is what a
reader may expect: a ratio of times is at most that, a ratio of speeds at least. Run it on a machine
that does nothing else: ``make bench``.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from adopting import adopt_big, adopt_lora
from aggregating import flexlora, flexlora_memory
from default import ROOT, SCRIPTS, places, prepared
from deploying import deploy
from partitioning import partition, partition_thousand
from preprocessing import preprocess

from blossomtune.federation.build_spec import build_spec
from blossomtune.federation.paths import ServerPaths
from blossomtune.federation.run import FederatedRun
from blossomtune.files import to_canonical_json, write_json

OUTPUT = ROOT / "results" / "benchmarks" / "bench.json"


def federate() -> dict:
    """A round of the default's clients, eight rows a step, against a bare loop; with set-up."""
    settings, files = prepared()
    # One round: set-up weighs more than in a whole run. The bare loop evaluates nothing either.
    settings["federation"] |= {"rounds": 1, "evaluate_rows": 0}
    settings["training"]["arguments"] |= {"per_device_train_batch_size": 8, "max_steps": 10}
    with tempfile.TemporaryDirectory() as scratch:
        outputs = places(Path(scratch))
        options = [
            word for key, path in (files | outputs).items() for word in (f"--{key}", str(path))
        ]
        cores = ["--cores", str(os.cpu_count()), "--logs", scratch]
        step = [SCRIPTS / "federate.py", "--config", to_canonical_json(settings), *options, *cores]
        ours = _seconds(*step)
        run = Path(scratch) / "run.json"
        spec = build_spec(settings, **files)
        del files["partition"]
        FederatedRun(spec=spec, paths=ServerPaths(**files, **outputs)).save(run)
        other = _seconds(Path(__file__).with_name("bare_loop.py"), run)
    return _row("federate / bare PyTorch+PEFT loop, one round", ours, other, "s", 1.1)


MEASURES = [
    federate,
    deploy,
    preprocess,
    partition,
    partition_thousand,
    flexlora,
    flexlora_memory,
    adopt_lora,
    adopt_big,
]


def _seconds(*command: object) -> float:
    """Wall time of a Python program, from start to exit."""
    environment = os.environ | {"PYTHONPATH": str(SCRIPTS)}
    start = time.perf_counter()
    subprocess.run([sys.executable, *map(str, command)], env=environment, check=True)
    return time.perf_counter() - start


def _row(name: str, ours: float, other: float, unit: str, bound: float) -> dict:
    return {
        "name": name,
        "ours": round(ours, 2),
        "other": round(other, 2),
        "unit": unit,
        "ratio": round(ours / other, 3),
        "bound": bound,
    }


def main() -> None:
    """Runs the measures named as arguments, or all; a row replaces its last value."""
    wanted = sys.argv[1:] or [measure.__name__ for measure in MEASURES]
    rows = {r["name"]: r for r in json.loads(OUTPUT.read_text())} if OUTPUT.exists() else {}
    for measure in MEASURES:
        if measure.__name__ in wanted:
            row = measure()
            rows[row["name"]] = row
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    write_json(OUTPUT, list(rows.values()))
    print(f"\n{'measure':<50}{'ours':>10}{'other':>10}{'unit':>8}{'ratio':>8}{'bound':>16}")
    for r in rows.values():
        bound = f"{'at least' if r['unit'].endswith('/s') else 'at most'} {r['bound']}"
        figures = f"{r['ours']:>10}{r['other']:>10}{r['unit']:>8}{r['ratio']:>8}{bound:>16}"
        print(f"{r['name']:<50}{figures}")


if __name__ == "__main__":
    main()
