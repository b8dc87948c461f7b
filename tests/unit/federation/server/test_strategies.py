import gc

import numpy as np
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.config.federation import FederationSettings
from blossomtune.config.strategies import SERVER_OPTIMIZERS, STRATEGY_SETTINGS
from blossomtune.deployment.flower_internal import set_task_identity
from blossomtune.errors import UserError
from blossomtune.federation.server.strategies import ServerStrategy, WeightedState

A, B = "q_proj.lora_A.weight", "q_proj.lora_B.weight"
AVERAGING = ["fedavg", "fedprox", "scaffold"]
ADAPTIVE = {"clipping": "adaptive", "noise_multiplier": 0.5}
CASES = {
    **{name: {"strategy": name} for name in STRATEGY_SETTINGS},
    "rolora": {"strategy": "fedadam", "aggregation": "rolora"},
    "rolora with momentum": {"strategy": "fedavgm", "aggregation": "rolora"},
    "private": {"privacy": {}},
    "adaptive": {"privacy": ADAPTIVE},
    "adaptive on clients": {"privacy": {**ADAPTIVE, "side": "client"}},
}


@pytest.fixture(autouse=True, scope="module")
def freeze_garbage():
    """Freeze imported objects; Bulyan collects garbage for each client."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(autouse=True)
def flower_task():
    """Set the task identity that Flower needs to create messages."""
    set_task_identity(task_id=1, run_id=1, node_id=1)


def server(state_dict=None, **federation):
    return ServerStrategy(FederationSettings(**federation), 7, state_dict)


def state(seed, names=(A, B), scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    return {name: scale * torch.randn(3, 5, generator=generator) for name in names}


def move(start, seed, scale=0.1):
    moves = state(seed, start, scale)
    return {name: start[name] + moves[name] for name in start}


def clients(start, round_number=1, count=7):
    states = [move(start, 100 * round_number + i) for i in range(count)]
    return [WeightedState(s, 3 + 5 * i, was_clipped=i % 3 == 0) for i, s in enumerate(states)]


def to_numpy(state, name=A):
    return state[name].double().numpy()


@pytest.mark.parametrize("case", CASES)
def test_result_is_finite_sorted_float32_and_arguments_stay_unchanged(case):
    start = state(0, (B, A))
    results = clients(start)
    copies = [{n: t.clone() for n, t in r.state.items()} for r in results]
    new = server(**CASES[case]).aggregate_train(1, start, results)
    assert list(new) == [A, B]
    assert all(new[n].dtype == torch.float32 and new[n].isfinite().all() for n in new)
    assert all(new[n].shape == start[n].shape and not torch.equal(new[n], start[n]) for n in new)
    for result, copy in zip(results, copies, strict=True):
        assert all(torch.equal(result.state[n], copy[n]) for n in copy)
    assert all(torch.equal(start[n], t) for n, t in state(0, (B, A)).items())


@pytest.mark.parametrize("name", AVERAGING)
def test_averages_are_weighted(name):
    results = clients(state(0))
    new = server(strategy=name).aggregate_train(1, state(0), results)
    expected = sum(to_numpy(r.state) * r.weight for r in results) / sum(r.weight for r in results)
    assert np.allclose(to_numpy(new), expected, rtol=1e-6)


@pytest.mark.parametrize("name", AVERAGING)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
@settings(max_examples=10)
def test_single_client_returns_unchanged(name, numbers):
    only = {A: torch.tensor(numbers), B: torch.zeros(1)}
    start = {n: torch.ones_like(t) for n, t in only.items()}
    new = server(strategy=name).aggregate_train(1, start, [WeightedState(only, 13)])
    assert all(new[n].numpy().tobytes() == only[n].numpy().tobytes() for n in only)


@pytest.mark.parametrize("name", sorted(STRATEGY_SETTINGS.keys() - SERVER_OPTIMIZERS))
def test_equal_clients_return_unchanged(name):
    same = move(state(0), 1)
    new = server(strategy=name).aggregate_train(
        1, state(0), [WeightedState(same, n) for n in (3, 7, 1, 11, 6)]
    )
    assert all(torch.equal(new[n], same[n]) for n in same)


def test_fedavgm_uses_momentum():
    strategy = server(strategy={"name": "fedavgm", "learning_rate": 0.5, "momentum": 0.8})
    current, velocity = state(0), 0
    for round_number in (1, 2, 3):
        results = clients(current, round_number)
        mean = sum(to_numpy(r.state) * r.weight for r in results) / sum(r.weight for r in results)
        velocity = 0.8 * velocity + to_numpy(current) - mean
        expected = to_numpy(current) - 0.5 * velocity
        current = strategy.aggregate_train(round_number, current, results)
        assert np.allclose(to_numpy(current), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["fedadagrad", "fedadam", "fedyogi"])
def test_adaptive_optimizers_follow_the_paper(name):
    """Algorithm 2 of arXiv 2003.00295; Adam with Flower's correction for the first steps."""
    parameters = {"eta": 0.05, "tau": 0.01}
    if name != "fedadagrad":
        parameters |= {"beta_1": 0.7, "beta_2": 0.9}
    strategy = server(strategy={"name": name, **parameters})
    current, m, v = state(0), 0, np.zeros((3, 5))
    b1, b2 = parameters.get("beta_1", 0), parameters.get("beta_2", 0)
    for round_number in (1, 2, 3):
        results = clients(current, round_number)
        mean = sum(to_numpy(r.state) * r.weight for r in results) / sum(r.weight for r in results)
        delta = mean - to_numpy(current)
        m = b1 * m + (1 - b1) * delta
        v = {
            "fedadagrad": v + delta**2,
            "fedadam": b2 * v + (1 - b2) * delta**2,
            "fedyogi": v - (1 - b2) * delta**2 * np.sign(v - delta**2),
        }[name]
        eta = 0.05
        if name == "fedadam":
            eta *= np.sqrt(1 - b2 ** (round_number + 1)) / (1 - b1 ** (round_number + 1))
        expected = to_numpy(current) + eta * m / (np.sqrt(v) + 0.01)
        current = strategy.aggregate_train(round_number, current, results)
        assert np.allclose(to_numpy(current), expected, rtol=1e-5, atol=1e-7)


def test_median_and_trimmed_average():
    results = clients(state(0))
    stacked = np.sort([to_numpy(r.state) for r in results], axis=0)
    assert np.allclose(
        to_numpy(server(strategy="fedmedian").aggregate_train(1, state(0), results)), stacked[3]
    )
    trimmed = server(strategy={"name": "fedtrimmedavg", "beta": 0.3}).aggregate_train(
        1, state(0), results
    )
    assert np.allclose(to_numpy(trimmed), stacked[2:-2].mean(axis=0), rtol=1e-6)  # int(0.3 · 7) = 2


def scores(results, malicious):
    flat = [np.concatenate([to_numpy(r.state, n).ravel() for n in (A, B)]) for r in results]
    return [
        sum(sorted(((x - y) ** 2).sum() for j, y in enumerate(flat) if j != i)[: -malicious - 1])
        for i, x in enumerate(flat)
    ]


@pytest.mark.parametrize("offset", [0, 1e4])
def test_krum_selects_the_client_nearest_to_its_neighbours(offset):
    """This includes large values with small differences, as in a random initial factor."""
    start = {n: t + offset for n, t in state(0).items()}
    results = clients(start)
    best = np.argsort(scores(results, 1))
    new = server(strategy={"name": "krum", "malicious": 1}).aggregate_train(1, start, results)
    assert all(torch.equal(new[n], results[best[0]].state[n]) for n in new)
    several = {"name": "multikrum", "malicious": 1, "selected": 3}
    new = server(strategy=several).aggregate_train(1, start, results)
    chosen = [results[i] for i in best[:3]]
    expected = sum(to_numpy(r.state) * r.weight for r in chosen) / sum(r.weight for r in chosen)
    assert np.allclose(to_numpy(new), expected, rtol=1e-6)


def test_bulyan_averages_values_nearest_to_the_median_of_krums_selection():
    results = clients(state(0))
    theta, beta = 7 - 2, 7 - 4
    chosen = np.array([to_numpy(results[i].state) for i in np.argsort(scores(results, 1))[:theta]])
    distance = np.argsort(abs(chosen - np.median(chosen, axis=0)), axis=0)[:beta]
    expected = np.take_along_axis(chosen, distance, axis=0).mean(axis=0)
    new = server(strategy={"name": "bulyan", "malicious": 1}).aggregate_train(1, state(0), results)
    assert np.allclose(to_numpy(new), expected, rtol=1e-6)


@pytest.mark.parametrize("name", ["fedmedian", "fedtrimmedavg", "krum", "multikrum", "bulyan"])
def test_robust_strategies_stay_near_the_honest_clients(name):
    malicious = {"malicious": 1} if "malicious" in STRATEGY_SETTINGS[name].model_fields else {}
    results = clients(state(0))
    results[2] = WeightedState({n: t + 1e6 for n, t in results[2].state.items()}, 10**9, False)
    new = server(strategy={"name": name, **malicious}).aggregate_train(1, state(0), results)
    assert abs(to_numpy(new) - to_numpy(state(0))).max() < 1


@pytest.mark.parametrize("name", ["krum", "multikrum", "bulyan"])
def test_too_few_results_stop_the_run(name):
    with pytest.raises(UserError, match=f"round 4 stops: {name} .* at least 3 results, .* are 2"):
        server(strategy=name).aggregate_train(4, state(0), clients(state(0), count=2))


def run_rounds(case, rounds, start, stop=None):
    """Return adapter and strategy after some rounds, with a restart after round ``stop``."""
    strategy, current = server(**CASES[case]), start
    for round_number in range(1, rounds + 1):
        names = ([B] if round_number % 2 else [A]) if "rolora" in case else [A, B]
        part = {name: current[name] for name in names}
        results = clients(part, round_number)
        current = {**current, **strategy.aggregate_train(round_number, part, results)}
        if round_number == stop:
            on_disk = safetensors.torch.save(strategy.state_dict())
            strategy = server(safetensors.torch.load(on_disk), **CASES[case])
    return current, strategy


@pytest.mark.parametrize("case", CASES)
@given(st.integers(1, 4), st.integers(0, 99))
@settings(max_examples=4)
def test_restart_after_any_round_changes_no_bit(case, stop, seed):
    through, one = run_rounds(case, 5, state(seed))
    again, other = run_rounds(case, 5, state(seed), stop)
    assert all(torch.equal(through[n], again[n]) for n in (A, B))
    assert one.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(value, other.state_dict()[n]) for n, value in one.state_dict().items())
    assert (
        one.configure_train() == other.configure_train()
        and one.get_privacy_metrics() == other.get_privacy_metrics()
    )


@pytest.mark.parametrize("name", ["fedadam", "fedavgm"])
def test_rolora_has_a_separate_momentum_per_factor(name):
    """Momentum and steps are as if each factor were trained alone in rounds 1, 2, …"""
    together = server(strategy=name, aggregation="rolora")
    alone = {factor: server(strategy=name) for factor in (A, B)}
    current = state(0)
    for round_number in range(1, 7):
        factor = B if round_number % 2 else A
        part = {factor: current[factor]}
        results = clients(part, round_number)
        new = together.aggregate_train(round_number, part, results)
        expected = alone[factor].aggregate_train((round_number + 1) // 2, part, results)
        assert torch.equal(new[factor], expected[factor])
        current |= new
