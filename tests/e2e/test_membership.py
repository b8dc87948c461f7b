"""A client is away for some rounds and comes back."""

from contextlib import contextmanager

import psutil
import pytest
from external_nodes import NAMES, start_external
from stock_flower import start_stock_flower

pytestmark = pytest.mark.engine

KEYS = {"optimizer_state": "kept", "min_clients": 2, "round_timeout": 120}


@contextmanager
def run_on_process(federate, files, home, rounds):
    process = federate(files, engine="process", rounds=rounds, **KEYS)
    process.wait_for_round(1)
    yield process, process.find_children("supernode")[1]


@contextmanager
def run_on_external(federate, files, home, rounds):
    started = start_external(federate, files, home, range(len(NAMES)), rounds=rounds, **KEYS)
    with started as (process, _, nodes):
        process.wait_for_round(1)
        yield process, nodes[1]


@contextmanager
def run_on_flower(federate, files, home, rounds):
    """Run Flower's own programs, with the ServerApp beside the SuperLink."""
    configs = {name: f'client="{name}"' for name in NAMES}
    with pytest.MonkeyPatch.context() as patch, start_stock_flower(home, configs) as flower:
        patch.setenv("FLWR_HOME", str(flower.home))
        engine = {"name": "flower", "connection": "lab"}
        process = federate(files, engine=engine, rounds=rounds, **KEYS)
        process.wait_for_round(1)
        yield process, psutil.Process(flower.supernodes[1].pid)


@pytest.mark.parametrize(
    ("run_on", "rounds"), [(run_on_process, 12), (run_on_external, 12), (run_on_flower, 9)]
)
def test_client_that_comes_back_trains_again(
    engine, federate, federation_files, tmp_path, run_on, rounds
):
    """Its SuperNode is stopped in a round, so that its heartbeats are missed, and goes on later."""
    engine("process")
    with run_on(federate, federation_files, tmp_path, rounds) as (process, supernode):
        process.wait_for_round(2)
        supernode.suspend()
        process.wait_for_round(5)
        supernode.resume()
        output = process.finish()
    records = process.read_rounds()[1:]
    absent = [number for number, r in enumerate(records, 1) if r["absent"]]
    assert absent and min(absent) > 2 and max(absent) < rounds, output
    for number, record in enumerate(records, 1):
        trained = [client["client"] for client in record["clients"]]
        failed = [client["client"] for client in record["failed"]]
        expected = [0, 2] if number in absent else [0, 1, 2]
        assert sorted(trained + failed) == expected, (number, output)
    assert records[0]["clients"] and [c["client"] for c in records[-1]["clients"]] == [0, 1, 2]
    for label in ("is not connected", "is connected"):
        assert f"client 1 (lab 1) {label}" in output
