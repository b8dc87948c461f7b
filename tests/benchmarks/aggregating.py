"""FlexLoRA for one 4096 × 4096 layer and 32 clients, beside a dense SVD; both in float64.

Run as a program, it is one side of that: ``aggregating.py SIDE`` prints seconds and megabytes.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CODE = os.pathsep.join([str(ROOT / "workflow_scripts"), str(ROOT / "tests")])
SIZE, CLIENTS, RANKS = 4096, 32, (4, 8, 16, 32, 64)
REPEATS = {"factors": 3, "dense": 1}
A, B = "layer.lora_A.weight", "layer.lora_B.weight"


def flexlora() -> dict:
    """Time from the clients' factors to the server's."""
    return _row("flexlora / dense SVD, 4096 × 4096, 32 clients", "seconds", "s", 0.02)


def flexlora_memory() -> dict:
    """The process's peak beyond what it held before: libraries and the clients' factors."""
    return _row("flexlora / dense SVD, peak memory", "megabytes", "MB", 0.1)


def _row(name: str, measure: str, unit: str, bound: float) -> dict:
    ours, other = (_figures(side)[measure] for side in ("factors", "dense"))
    figures = {"ours": round(ours, 2), "other": round(other, 2), "unit": unit}
    return {"name": name, **figures, "ratio": round(ours / other, 3), "bound": bound}


@cache
def _figures(side: str) -> dict[str, float]:
    times = range(REPEATS[side])
    seconds = min(_run(side)["seconds"] for _ in times)
    # glibc gives what is freed back at once, so that the peak is what is in use on either side.
    at_once = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}
    megabytes = max(_run(side, **at_once)["megabytes"] for _ in times)
    return {"seconds": seconds, "megabytes": megabytes}


def _run(side: str, **variables: str) -> dict[str, float]:
    environment = os.environ | {"PYTHONPATH": CODE} | variables
    command = [sys.executable, __file__, side]
    done = subprocess.run(command, env=environment, check=True, capture_output=True)
    return json.loads(done.stdout)


def _measure(side: str) -> dict[str, float]:
    """Seconds and megabytes of one side; ranks go round among the clients."""
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
    start, scale = {A: torch.zeros(rank, SIZE), B: torch.zeros(SIZE, rank)}, 16 / rank
    sides: dict[str, Callable] = {"factors": AGGREGATIONS["flexlora"], "dense": _dense}
    small = torch.eye(64, dtype=torch.float64)
    torch.linalg.svd(torch.linalg.qr(small @ small).R)  # the libraries' own start
    reset_peak()
    held = get_peak_bytes()
    began = time.perf_counter()
    sides[side](clients, start, scale)
    seconds = time.perf_counter() - began
    return {"seconds": seconds, "megabytes": (get_peak_bytes() - held) / 1e6}


def _dense(clients: list, start: dict, scale: float) -> dict:
    """What FlexLoRA's paper writes down."""
    import torch

    whole = torch.zeros(SIZE, SIZE, dtype=torch.float64)
    total = sum(c.weight for c in clients)
    for c in clients:
        factor = c.weight / total * c.scale
        whole.addmm_(c.state[B].double(), c.state[A].double(), alpha=factor)
    u, s, vt = torch.linalg.svd(whole, full_matrices=False)
    rank = len(start[A])
    root = s[:rank].sqrt()
    b, a = u[:, :rank] * root / scale, root[:, None] * vt[:rank]
    return {A: a.float(), B: b.float()}


if __name__ == "__main__":
    print(json.dumps(_measure(sys.argv[1])))
