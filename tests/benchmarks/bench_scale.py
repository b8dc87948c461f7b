"""CPU time and memory of the server's share of a round, by number of clients.

Messages are built in this process, so that neither training nor a network counts. As a program,
``bench_scale.py CLIENTS`` prints seconds of CPU time and peak memory as JSON.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

from measurement import Measurement, measure_in_process

CLIENTS = (10, 100, 1_000, 10_000)
SIZE, LAYERS = 1024, 15
"""Size and number of the adapted layers, of rank 4: 0.5 MB."""


def scale() -> Measurement:
    """Measure rounds of 10 to 10,000 clients; a client's share is to stay the same."""
    seconds = {}
    for clients in CLIENTS:
        result = measure_in_process(__file__, clients)
        seconds[clients] = result["seconds"] / clients
        print(
            f"{clients:>6} clients {result['seconds']:8.2f} s {1000 * seconds[clients]:6.2f} ms "
            f"per client {result['peak_mb']:6.0f} MB beyond the start"
        )
    return Measurement(
        "server / a client of 10,000, one of 100",
        1000 * seconds[10_000],
        1000 * seconds[100],
        "ms",
        target=1.5,
    )


def _run_round(clients: int) -> dict[str, float]:
    from many_clients import build_adapter, build_runner
    from peak_memory import get_peak_bytes, reset_peak

    with tempfile.TemporaryDirectory() as folder:
        runner = build_runner(clients, build_adapter(LAYERS, SIZE), Path(folder))
        reset_peak()
        before, started = get_peak_bytes(), time.process_time()
        runner.run_round(1)
        seconds = time.process_time() - started
        return {"seconds": seconds, "peak_mb": (get_peak_bytes() - before) / 1e6}


if __name__ == "__main__":
    print(json.dumps(_run_round(int(sys.argv[1]))))
