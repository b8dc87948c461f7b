"""Bytes that a federation moves, and the communication budget."""

import pytest
from local_grid import build_experiment, drop_seconds, load_adapter

from blossomtune.errors import UserError


def test_lower_precision_moves_fewer_bytes_and_trains_alike(train):
    losses = {}
    for precision in ("float32", "bfloat16", "int8"):
        communication = {"precision": precision}
        run, history = train(build_experiment(rounds=3, communication=communication), precision)
        last = history["rounds"][-1]
        losses[precision] = last["evaluation"]["loss"]
        moved = [c[key] for c in last["clients"] for key in ("bytes_down", "bytes_up")]
        assert sum(moved) == last["bytes_down"] + last["bytes_up"]
        adapter = load_adapter(run)
        item_size = {"float32": 4, "bfloat16": 2, "int8": 1}[precision]
        size = item_size * sum(tensor.numel() for tensor in adapter.values())
        overhead = 600 * len(adapter)  # Flower's, for each array
        assert all(size < n < size + overhead for n in moved)
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)
    assert losses["int8"] == pytest.approx(losses["float32"], rel=0.05)


def test_training_one_factor_moves_half_the_bytes(train):
    moved = {}
    for aggregation in ("fedavg", "ffa", "rolora"):
        _, history = train(build_experiment(aggregation=aggregation, lora={"r": 32}), aggregation)
        moved[aggregation] = [
            sum(r[key] for r in history["rounds"]) for key in ("bytes_down", "bytes_up")
        ]
    assert moved["ffa"][0] < 0.7 * moved["fedavg"][0]
    assert moved["ffa"][1] < 0.7 * moved["fedavg"][1]
    assert moved["rolora"][1] < 0.7 * moved["fedavg"][1]


def test_clients_with_smaller_ranks_move_fewer_bytes(train):
    lora = {"r": 16, "ranks": [2, 8, 16]}
    _, history = train(build_experiment(aggregation="flexlora", lora=lora))
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
def test_run_stops_before_the_budget_is_exceeded(train, precision, keys):
    communication = {"precision": precision}
    _, history = train(build_experiment(rounds=4, communication=communication, **keys), "unlimited")
    moved = [r["bytes_down"] + r["bytes_up"] for r in history["rounds"]]
    budget = (sum(moved[:4]) - 1) / 1e6
    limited = communication | {"budget_mb": budget}
    run, stopped = train(build_experiment(rounds=4, communication=limited, **keys), "limited")
    assert [r["round"] for r in stopped["rounds"]] == [0, 1, 2]
    assert "round 3 would move" in stopped["stop_reason"]
    assert sum(r["bytes_down"] + r["bytes_up"] for r in stopped["rounds"]) <= budget * 1e6
    assert run.paths.adapter.exists()
    experiment = build_experiment(rounds=4, communication=communication, **keys)
    _, resumed = train(experiment, "limited")
    assert drop_seconds(resumed) == drop_seconds(history)
    with pytest.raises(UserError, match="no round was trained: round 1 would move"):
        train(build_experiment(communication={"budget_mb": 1e-3}), "too small")
