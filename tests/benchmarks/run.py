"""Run benchmarks: print a table and write results/benchmarks/bench.json.

A benchmark is a function that returns a Measurement; nothing is asserted. Run it with ``make
bench`` on an idle machine.
"""

import json
import sys

from bench_adopt import adopt_large, adopt_small
from bench_deployment import deploy
from bench_evaluate import evaluate
from bench_federate import federate
from bench_flexlora import flexlora, flexlora_memory
from bench_flower import flower
from bench_large import large_evaluate, large_federate, large_merge
from bench_leaks import leaks, leaks_memory
from bench_long_rows import (
    long_evaluation,
    long_pack,
    long_pack_checkpointing,
    long_row,
    long_row_checkpointing,
)
from bench_partition import partition, partition_thousand
from bench_plan import plan_memory
from bench_preprocess import preprocess
from bench_scale import scale
from bench_server import server_memory
from bench_step import (
    step_bfloat16,
    step_bfloat16_products,
    step_float32,
    step_float32_products,
)
from bench_superlink import superlink
from measurement import ROOT

from blossomtune.files import write_json

OUTPUT = ROOT / "results" / "benchmarks" / "bench.json"
BENCHMARKS = [
    federate,
    evaluate,
    deploy,
    flower,
    preprocess,
    leaks,
    leaks_memory,
    partition,
    partition_thousand,
    flexlora,
    flexlora_memory,
    server_memory,
    scale,
    superlink,
    adopt_small,
    adopt_large,
    plan_memory,
    large_federate,
    large_merge,
    large_evaluate,
    long_row,
    long_row_checkpointing,
    long_pack,
    long_pack_checkpointing,
    long_evaluation,
    step_float32,
    step_bfloat16,
    step_float32_products,
    step_bfloat16_products,
]


def main() -> None:
    """Run the benchmarks named as arguments, or all; their rows replace earlier ones."""
    names = sys.argv[1:] or [benchmark.__name__ for benchmark in BENCHMARKS]
    rows = {row["name"]: row for row in json.loads(OUTPUT.read_text())} if OUTPUT.exists() else {}
    for benchmark in BENCHMARKS:
        if benchmark.__name__ in names:
            row = benchmark().to_row()
            rows[row["name"]] = row
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    write_json(OUTPUT, list(rows.values()))
    columns = ("ours", "reference", "unit", "ratio", "target")
    print(f"\n{'measurement':<54}" + "".join(f"{column:>16}" for column in columns))
    for row in rows.values():
        print(f"{row['name']:<54}" + "".join(f"{row[column]:>16}" for column in columns))


if __name__ == "__main__":
    main()
