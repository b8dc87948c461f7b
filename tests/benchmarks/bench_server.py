"""Memory of a round of 64 clients with adapters of 100 MB; reference: one client and 600 MB.

As a program, ``bench_server.py CASE CLIENTS LAYERS`` prints the peak in megabytes.
"""

import json
import sys
import tempfile
from pathlib import Path

from measurement import Measurement, measure_in_process

CLIENTS, ALLOWED_MB = 64, 600
SIZE, LAYERS = 16384, 190
"""Size and number of the adapted layers, of rank 4: 100 MB."""

AGGREGATIONS = ("fedavg", "flexlora", "flora", "fedex", "ffa", "rolora", "hetlora")
CASES = {
    **{name: {"aggregation": name} for name in AGGREGATIONS},
    "fedadam": {"strategy": "fedadam"},
    "fedmedian": {"strategy": "fedmedian"},
    "krum": {"strategy": "krum"},
    "bulyan": {"strategy": "bulyan"},
    "scaffold": {"strategy": "scaffold"},
    "private": {"privacy": {"clipping": "adaptive"}},
}


def server_memory() -> Measurement:
    """Measure the largest peak of all cases."""
    peaks = {case: measure(case, CLIENTS) - measure(case, 1) for case in CASES}
    for case, peak in peaks.items():
        print(f"{case:<12} {peak:6.0f} MB beyond a round of one client")
    return Measurement(
        "server / allowed, 64 clients of 100 MB, worst case",
        max(peaks.values()),
        ALLOWED_MB,
        "MB",
        target=1.0,
    )


def measure(case: str, clients: int, layers: int = LAYERS) -> float:
    """Return the peak memory of a round in megabytes.

    Args:
        case: One of ``CASES``.
        clients: Number of clients.
        layers: Number of adapted layers.
    """
    return measure_in_process(__file__, case, clients, layers)


def _run_round(case: str, clients: int, layers: int) -> float:
    from many_clients import build_adapter, build_runner
    from peak_memory import get_peak_bytes, reset_peak

    minimum = 3 if case in ("fedmedian", "krum", "bulyan") else 1
    with tempfile.TemporaryDirectory() as folder:
        adapter = build_adapter(layers, SIZE)
        runner = build_runner(max(minimum, clients), adapter, Path(folder), **CASES[case])
        reset_peak()
        runner.run_round(1)
        return get_peak_bytes() / 1e6


if __name__ == "__main__":
    print(json.dumps(_run_round(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
