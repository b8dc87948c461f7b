"""FlexLoRA of one 4096 × 4096 layer and 32 clients; reference: a dense SVD; both in float64.

As a program, ``bench_flexlora.py SIDE`` prints the seconds and megabytes of one side.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache

from measurement import ROOT, Measurement

CODE = os.pathsep.join([str(ROOT / "workflow_scripts"), str(ROOT / "tests")])
SIZE, CLIENTS, RANKS = 4096, 32, (4, 8, 16, 32, 64)
REPEATS = {"factors": 3, "dense": 1}
A, B = "layer.lora_A.weight", "layer.lora_B.weight"


def flexlora() -> Measurement:
    """Measure the time from the clients' factors to the server's factors."""
    ours, reference = (_measure(side)["seconds"] for side in ("factors", "dense"))
    name = "flexlora / dense SVD, 4096 × 4096, 32 clients"
    return Measurement(name, ours, reference, "s", target=0.02)


def flexlora_memory() -> Measurement:
    """Measure the peak memory beyond that of libraries and the clients' factors."""
    ours, reference = (_measure(side)["megabytes"] for side in ("factors", "dense"))
    return Measurement("flexlora / dense SVD, peak memory", ours, reference, "MB", target=0.1)


@cache
def _measure(side: str) -> dict[str, float]:
    repeats = range(REPEATS[side])
    seconds = min(_run_program(side)["seconds"] for _ in repeats)
    # glibc then returns freed memory at once, so that the peak is the memory in use.
    settings = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
    megabytes = max(_run_program(side, **settings)["megabytes"] for _ in repeats)
    return {"seconds": seconds, "megabytes": megabytes}


def _run_program(side: str, **environment: str) -> dict[str, float]:
    environment = os.environ | {"PYTHONPATH": CODE} | environment
    command = [sys.executable, __file__, side]
    result = subprocess.run(command, env=environment, check=True, capture_output=True)
    return json.loads(result.stdout)


def _aggregate(side: str) -> dict[str, float]:
    """Aggregate once; return seconds and megabytes."""
    import torch
    from peak_memory import get_peak_bytes, reset_peak

    from blossomtune.aggregation.registry import AGGREGATIONS
    from blossomtune.aggregation.types import ClientUpdate

    torch.manual_seed(0)
    ranks = [RANKS[i % len(RANKS)] for i in range(CLIENTS)]
    clients = [
        ClientUpdate({A: torch.randn(r, SIZE), B: torch.randn(SIZE, r)}, scale=16 / r, weight=1.0)
        for r in ranks
    ]
    rank = max(ranks)
    initial, scale = {A: torch.zeros(rank, SIZE), B: torch.zeros(SIZE, rank)}, 16 / rank
    sides: dict[str, Callable] = {"factors": AGGREGATIONS["flexlora"], "dense": _aggregate_dense}
    small = torch.eye(64, dtype=torch.float64)
    torch.linalg.svd(torch.linalg.qr(small @ small).R)  # loads the libraries
    reset_peak()
    bytes_before = get_peak_bytes()
    start = time.perf_counter()
    sides[side](clients, initial, scale)
    seconds = time.perf_counter() - start
    return {"seconds": seconds, "megabytes": (get_peak_bytes() - bytes_before) / 1e6}


def _aggregate_dense(clients: list, initial: dict, scale: float) -> dict:
    """Return FlexLoRA's factors by the SVD of the dense mean update (arXiv:2402.11505)."""
    import torch

    update = torch.zeros(SIZE, SIZE, dtype=torch.float64)
    total = sum(c.weight for c in clients)
    for c in clients:
        factor = c.weight / total * c.scale
        update.addmm_(c.state[B].double(), c.state[A].double(), alpha=factor)
    u, s, vt = torch.linalg.svd(update, full_matrices=False)
    rank = len(initial[A])
    root = s[:rank].sqrt()
    b, a = u[:, :rank] * root / scale, root[:, None] * vt[:rank]
    return {A: a.float(), B: b.float()}


if __name__ == "__main__":
    print(json.dumps(_aggregate(sys.argv[1])))
