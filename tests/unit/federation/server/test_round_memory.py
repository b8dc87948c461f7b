"""Test that the memory of a round does not grow with the number of clients."""

import pytest
from many_clients import build_adapter, build_runner
from peak_memory import get_peak_bytes, reset_peak

from blossomtune.federation.server import aggregate_pieces

LAYERS, SIZE = 128, 2048
"""An adapter of 8 MB."""


def measure_round(num_clients, folder, **federation):
    runner = build_runner(num_clients, build_adapter(LAYERS, SIZE), folder, **federation)
    reset_peak()
    before = get_peak_bytes()
    runner.run_round(1)
    return get_peak_bytes() - before


@pytest.mark.parametrize(
    "federation", [{}, {"strategy": "fedmedian"}, {"aggregation": "flora"}, {"strategy": "krum"}]
)
def test_peak_of_a_round_does_not_grow_with_the_clients(federation, tmp_path, monkeypatch):
    monkeypatch.setattr(aggregate_pieces, "MAX_ELEMENTS", 2**17)
    measure_round(3, tmp_path, **federation)  # loads libraries
    few, many = (measure_round(count, tmp_path, **federation) for count in (3, 16))
    assert many - few < 13 * 8e6 / 2, "half of the additional replies"
