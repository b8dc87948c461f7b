"""Bytes of a federation in this process: what makes them fewer, and the budget."""

import pytest
from in_process import experiment, told, trained

from blossomtune.errors import UserError


def test_fewer_digits_are_fewer_bytes_and_learn_alike(train):
    lost = {}
    for precision in ("float32", "bfloat16", "int8"):
        communication = {"precision": precision}
        run, history = train(experiment(rounds=3, communication=communication), precision)
        last = history["rounds"][-1]
        lost[precision] = last["evaluation"]["loss"]
        entries = [c[key] for c in last["clients"] for key in ("bytes_down", "bytes_up")]
        assert sum(entries) == last["bytes_down"] + last["bytes_up"]
        numbers = sum(p.numel() for p in trained(run).values())
        digits = {"float32": 4, "bfloat16": 2, "int8": 1}[precision]
        overhead = 600 * len(trained(run))  # Flower's, for each array
        assert all(digits * numbers < n < digits * numbers + overhead for n in entries)
    assert lost["bfloat16"] == pytest.approx(lost["float32"], rel=0.02)
    assert lost["int8"] == pytest.approx(lost["float32"], rel=0.05)


def test_one_factor_is_half_the_traffic(train):
    moved = {}
    for aggregation in ("fedavg", "ffa", "rolora"):
        _, history = train(experiment(aggregation=aggregation, lora={"r": 32}), aggregation)
        moved[aggregation] = [
            sum(r[f"bytes_{w}"] for r in history["rounds"]) for w in ("down", "up")
        ]
    assert moved["ffa"][0] < 0.7 * moved["fedavg"][0]
    assert moved["ffa"][1] < 0.7 * moved["fedavg"][1]
    assert moved["rolora"][1] < 0.7 * moved["fedavg"][1]


def test_clients_of_smaller_ranks_send_less(train):
    _, history = train(experiment(aggregation="flexlora", lora={"r": 16, "ranks": [2, 8, 16]}))
    assert history["ranks"] == [2, 8, 16]
    small, middle, large = history["rounds"][1]["clients"]
    assert small["bytes_up"] < middle["bytes_up"] < large["bytes_up"]
    assert small["bytes_down"] < middle["bytes_down"] < large["bytes_down"]


@pytest.mark.parametrize(
    ("precision", "keys"),
    [
        ("float32", {}),
        ("int8", {}),
        ("float32", {"strategy": "scaffold"}),
        ("float32", {"aggregation": "ffa", "privacy": {"clipping": "adaptive", "side": "client"}}),
    ],
)
def test_the_budget_is_never_passed(train, precision, keys):
    coded = {"precision": precision}
    _, history = train(experiment(rounds=4, communication=coded, **keys), "free")
    moved = [r["bytes_down"] + r["bytes_up"] for r in history["rounds"]]
    enough = (sum(moved[:4]) - 1) / 1e6
    tight = experiment(rounds=4, communication=coded | {"budget_mb": enough}, **keys)
    run, stopped = train(tight, "tight")
    assert [r["round"] for r in stopped["rounds"]] == [0, 1, 2]
    assert "round 3 would move" in stopped["stop_reason"]
    assert sum(r["bytes_down"] + r["bytes_up"] for r in stopped["rounds"]) <= enough * 1e6
    assert run.paths.adapter.exists()
    _, went_on = train(experiment(rounds=4, communication=coded, **keys), "tight")  # as it was
    assert told(went_on) == told(history)
    with pytest.raises(UserError, match="no round was trained: round 1 would move"):
        train(experiment(communication={"budget_mb": 1e-3}), "nothing")
