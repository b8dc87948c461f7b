import math
from statistics import NormalDist

import numpy as np
import pytest
import safetensors.torch
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from flwr.serverapp.strategy import FedAvg
from flwr.supercore.task_identity import TaskIdentity
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.config.federation import FederationSettings, PrivacySettings
from blossomtune.errors import UserError
from blossomtune.federation.server.strategies import ServerStrategy, WeightedState
from blossomtune.privacy import accounting, noise_seed
from blossomtune.privacy import clipping as privacy

SIDES = pytest.mark.parametrize("side", ["server", "client"])
CLIPPINGS = pytest.mark.parametrize("clipping", ["fixed", "adaptive"])
SILENT = 1e-9  # a noise multiplier that leaves what was clipped to be seen


@pytest.fixture(autouse=True)
def inside_a_run():
    """Flower's messages can only be made inside a run."""
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1


def server(seed=7, saved=None, **block):
    return ServerStrategy(FederationSettings(aggregation="ffa", privacy=block), seed, saved)


def zeros(size=40):
    return {"one": torch.zeros(size // 2, 2), "two": torch.zeros(size % 2 + 1)}


def clients(*norms, size=40, examples=None):
    """Results that moved from zero by so much each, all in directions of their own."""
    made = []
    for i, norm in enumerate(norms):
        moves = torch.randn(size // 2, 2, generator=torch.Generator().manual_seed(i))
        state = {**zeros(size), "one": moves * norm / moves.norm()}
        made.append(WeightedState(state, examples[i] if examples else 8, was_clipped=norm > 0.1))
    return made


def norm(state):
    return math.sqrt(sum(float(t.double().square().sum()) for t in state.values()))


@SIDES
@CLIPPINGS
def test_the_noise_has_the_deviation_that_belongs_to_those_who_answered(side, clipping):
    """z · norm / clients, and with adaptive clipping what is left to the updates of it."""
    strategy = server(side=side, clipping=clipping, noise_multiplier=2.0, clipping_norm=0.3)
    for round_, answered in ((1, 3), (2, 5)):
        noise = strategy.aggregate_train(
            round_, zeros(200_000), clients(*[0.0] * answered, size=200_000)
        )
        record = strategy.get_privacy_metrics()
        share = 1 if clipping == "fixed" else math.sqrt(4 / 3)
        want = 2.0 * share * record["clipping_norm"] / answered
        assert noise["one"].double().std().item() == pytest.approx(want, rel=0.01)
        assert abs(noise["one"].double().mean().item()) < 5 * want / math.sqrt(200_000)
        assert record["noise_deviation"] == pytest.approx(want, rel=1e-12)
        if round_ == 1 or clipping == "fixed":
            assert record["clipping_norm"] == 0.3
        else:  # the noise above is that of the norm which clipped, not of the next one
            assert record["clipping_norm"] != 0.3


@CLIPPINGS
def test_an_outlier_moves_the_result_by_no_more_than_the_norm(clipping):
    block = {"clipping": clipping, "noise_multiplier": SILENT, "clipping_norm": 0.3}
    honest = [0.1, 0.2, 0.25]
    results = [
        server(**block).aggregate_train(1, zeros(), clients(*honest, last))
        for last in (0.0, 0.3, 1e6, 1e18)
    ]
    for other in results[1:]:
        moved = norm({n: other[n] - results[0][n] for n in other})
        assert moved == pytest.approx(0.3 / 4, rel=1e-5)
    mean = sum(r.state["one"] for r in clients(*honest)) / 4
    assert torch.allclose(results[0]["one"], mean, atol=1e-7)


def test_nobody_weighs_more_for_having_more_examples():
    found = [
        server(noise_multiplier=SILENT).aggregate_train(
            1, zeros(), clients(0.05, 0.08, examples=counts)
        )
        for counts in ((1, 1), (1, 10**6))
    ]
    assert torch.allclose(found[0]["one"], found[1]["one"], atol=1e-8)


@SIDES
@CLIPPINGS
def test_clients_that_did_not_move_are_averaged_like_others(side, clipping):
    start = {"one": torch.randn(20, 2), "two": torch.zeros(1)}
    results = [WeightedState({n: t.clone() for n, t in start.items()}, 8, False) for _ in range(3)]
    strategy = server(side=side, clipping=clipping, noise_multiplier=SILENT)
    new = strategy.aggregate_train(1, start, results)
    assert all(torch.allclose(new[n], start[n], atol=1e-7) for n in new)


def noise(seed=7, round_=1, moves=0.05, **block):
    """The noise alone, in deviations."""
    result = clients(moves)
    strategy = server(seed, **block)
    new = strategy.aggregate_train(round_, zeros(), result)
    difference = new["one"].double() - result[0].state["one"]
    return difference / strategy.get_privacy_metrics()["noise_deviation"]


def secret_of(folder, content=b"0123456789abcdef", mode=0o600):
    file = folder / f"secret-{content.hex()[:8]}"
    file.write_bytes(content)
    file.chmod(mode)
    return str(file)


def test_noise_follows_from_all_that_it_is_added_to_and_from_nothing_else(tmp_path):
    """Were it the same in two runs, the one adapter less the other would be free of it."""
    one, two = secret_of(tmp_path), secret_of(tmp_path, b"another one of 24 bytes.")
    np.random.seed(1)
    first = noise()
    np.random.seed(2)
    before = np.random.get_state()
    assert torch.equal(first, noise())
    assert all(np.array_equal(a, b) for a, b in zip(before, np.random.get_state(), strict=True))
    others = [
        noise(seed=8),
        noise(round_=2),
        noise(moves=0.050001),
        noise(noise_multiplier=2.0),
        noise(clipping_norm=0.2),
        noise(secret=one),
        noise(secret=two),
        noise(secret=one, round_=2),
    ]
    assert torch.equal(noise(secret=one), noise(secret=one))
    for i, a in enumerate([first, *others]):
        assert not any(torch.allclose(a, b, rtol=0.1, atol=0.1) for b in others[i:])
        assert 0.5 < float(a.std()) < 1.6


def test_the_secret_stays_where_it_is(tmp_path, capfd):
    content = bytes(range(65, 91))
    block = {"secret": secret_of(tmp_path, content), "clipping": "adaptive"}
    strategy = server(**block)
    strategy.aggregate_train(1, zeros(), clients(0.1, 0.2))
    told = safetensors.torch.save(strategy.state_dict()).hex() + repr(
        vars(strategy.state_dict()["clipping_norm"])
    )
    told += (
        repr(strategy.get_privacy_metrics())
        + repr(strategy.configure_train())
        + "".join(capfd.readouterr())
    )
    found = noise_seed.fingerprint_secret(PrivacySettings(**block))
    for shown in (told, found):
        assert content.hex() not in shown and content.decode() not in shown
    assert found == noise_seed.fingerprint_secret(PrivacySettings(**block))
    assert found != noise_seed.fingerprint_secret(
        PrivacySettings(secret=secret_of(tmp_path, content[::-1]))
    )
    assert noise_seed.fingerprint_secret(PrivacySettings()) is None


def test_a_bad_secret_is_refused_before_training(tmp_path):
    with pytest.raises(UserError, match="cannot be read: No such file"):
        server(secret=str(tmp_path / "none"))
    with pytest.raises(UserError, match="has 15 bytes, at least 16"):
        server(secret=secret_of(tmp_path, bytes(15)))
    for mode in (0o640, 0o604, 0o620):
        with pytest.raises(UserError, match="open to others than its owner"):
            server(secret=secret_of(tmp_path, mode=mode))


@pytest.mark.parametrize(("side", "quantile"), [("server", 0.3), ("client", 0.8)])
@pytest.mark.parametrize("start", [0.02, 20.0])
def test_the_norm_goes_to_the_quantile_of_the_updates(side, quantile, start):
    norms = [0.1 * 1.5**i for i in range(10)]
    parameters = {"noise_multiplier": 0.05, "target_quantile": quantile, "clipping_rate": 1.0}
    strategy = server(clipping="adaptive", side=side, clipping_norm=start, **parameters)
    moves = clients(*norms)
    for round_ in range(1, 31):
        at = strategy.configure_train().get("clipping_norm", math.inf)
        results = [WeightedState(r.state, 8, n > at) for r, n in zip(moves, norms, strict=True)]
        strategy.aggregate_train(round_, zeros(), results)
    found = strategy.get_privacy_metrics()["clipping_norm"]
    assert abs(sum(n <= found for n in norms) / 10 - quantile) <= 0.1 + 1e-9


@SIDES
@pytest.mark.parametrize("answered", [1, 4, 100])
def test_adaptive_clipping_has_the_guarantee_of_the_whole_multiplier(side, answered):
    """A replaced client moves the sum by 2 norms and the count by 1; their noises together."""
    block = PrivacySettings(clipping="adaptive", side=side, noise_multiplier=1.5)
    wrapper = privacy.wrap_strategy(block, FedAvg(), 0.1, answered, ArrayRecord())
    moved = (2 / wrapper.noise_multiplier) ** 2 + (1 / wrapper.clipped_count_stddev) ** 2
    assert 1 / math.sqrt(moved) == pytest.approx(1.5 / 2)
    assert wrapper.noise_multiplier <= 1.16 * 1.5


def send(block, moves, config=None, fails=False):
    """What a client's mod makes of a train function that moves by so much."""
    start = {"one": torch.ones(20, 2), "two": torch.zeros(1)}

    def train(message, context):
        if fails:
            return Message(Error(code=0, reason="no memory"), reply_to=message)
        state = {n: t + moves * torch.eye(*t.shape) for n, t in start.items() if t.dim() > 1}
        metrics = MetricRecord({"num-examples": 8.0})
        content = {"adapter": ArrayRecord({**start, **state}), "metrics": metrics}
        return Message(RecordDict(content), reply_to=message)

    config = (
        ServerStrategy(FederationSettings(privacy=block), 7).configure_train()
        if config is None
        else config
    )
    content = RecordDict({"adapter": ArrayRecord(start), "round": ConfigRecord(config)})
    message = Message(content, dst_node_id=1, message_type="train")
    reply = privacy.build_clipping_mod(block)(message, Context(1, 1, {}, RecordDict(), {}), train)
    if reply.has_error():
        return reply.error.reason, None
    new = reply.content["adapter"].to_torch_state_dict()
    assert list(new) == list(start)
    return norm({n: new[n] - start[n] for n in start}), reply.content["metrics"].get("norm_bit")


@CLIPPINGS
def test_clients_clip_what_they_send(clipping):
    block = PrivacySettings(side="client", clipping=clipping, clipping_norm=0.25)
    far, near = send(block, 3.0), send(block, 0.1)
    assert far[0] == pytest.approx(0.25, rel=1e-4)
    assert near[0] == pytest.approx(0.1 * math.sqrt(2), rel=1e-4)
    assert (far[1], near[1]) == ((1, 0) if clipping == "adaptive" else (None, None))
    assert send(block, 0.0)[0] < 1e-6
    assert send(block, 1.0, fails=True) == ("no memory", None)
    assert "clipping_norm" in send(block, 1.0, config={"round": 1})[0]


def test_without_client_side_clipping_clients_have_no_mod():
    assert (
        privacy.build_clipping_mod(PrivacySettings()) is None and server().configure_train() == {}
    )
    assert ServerStrategy(FederationSettings(), 7).get_privacy_metrics() is None


@given(st.floats(0.3, 20), st.integers(1, 300), st.sampled_from([1e-5, 1e-8, 1e-2]))
@settings(max_examples=25)
def test_epsilon_where_all_take_part(z, rounds, delta):
    """Against Rényi's formula on a fine grid, and against the exact delta of a Gaussian.

    So many rounds are one Gaussian mechanism whose sensitivity is 2 √rounds / z deviations; its
    delta at an epsilon is known (arXiv 1805.06530, theorem 8).
    """
    epsilon = accounting.compute_epsilon(
        PrivacySettings(noise_multiplier=z, delta=delta), 9, 9, rounds
    )["epsilon"]
    mu = 2 * math.sqrt(rounds) / z
    alpha = 1 + np.logspace(-1.9, 4, 20_000)
    grid = alpha * mu**2 / 2 + np.log1p(-1 / alpha) - np.log(delta * alpha) / (alpha - 1)
    assert max(grid.min(), 0) - 1e-6 <= epsilon <= max(grid.min() * 1.05, 0) + 1e-2
    if epsilon < 300:  # beyond, the powers overflow
        phi = NormalDist().cdf
        exact = phi(mu / 2 - epsilon / mu) - math.exp(epsilon) * phi(-mu / 2 - epsilon / mu)
        assert exact <= delta * (1 + 1e-6)


@given(st.floats(0.5, 20), st.integers(2, 40), st.integers(1, 200), st.data())
@settings(max_examples=6)
def test_epsilon_grows_with_rounds_and_shares_and_falls_with_noise(z, clients, rounds, data):
    sampled = data.draw(st.integers(1, clients - 1))

    def epsilon(z=z, sampled=sampled, rounds=rounds):
        return accounting.compute_epsilon(
            PrivacySettings(noise_multiplier=z), clients, sampled, rounds
        )["epsilon"]

    here = epsilon()
    assert here <= epsilon(rounds=2 * rounds)
    assert here <= epsilon(sampled=sampled + 1)
    assert here >= epsilon(z=1.5 * z)


@given(st.floats(0.4, 5), st.integers(1, 9))
@settings(max_examples=6)
def test_epsilon_of_a_sample_covers_the_exact_delta_of_one_round(z, sampled):
    """One client's update turned round: if sampled, the sum is a norm off to one side or other."""
    epsilon = accounting.compute_epsilon(
        PrivacySettings(noise_multiplier=z, delta=1e-3), 10, sampled, 1
    )["epsilon"]
    q, x = sampled / 10, np.linspace(-1 - 12 * z, 1 + 12 * z, 200_001)

    def density(at):
        return np.exp(-(((x - at) / z) ** 2) / 2) / (z * math.sqrt(2 * math.pi))

    mine, other = ((1 - q) * density(0) + q * density(side) for side in (1, -1))
    exact = np.maximum(mine - math.exp(epsilon) * other, 0).sum() * (x[1] - x[0])
    assert exact <= 1e-3
    assert (
        epsilon
        <= accounting.compute_epsilon(PrivacySettings(noise_multiplier=z, delta=1e-3), 1, 1, 1)[
            "epsilon"
        ]
    )


def test_nothing_is_spent_before_the_first_round_and_much_with_little_noise():
    assert accounting.compute_epsilon(PrivacySettings(delta=1e-6), 8, 4, 0) == {
        "epsilon": 0.0,
        "delta": 1e-6,
    }
    loud = accounting.compute_epsilon(PrivacySettings(noise_multiplier=1e-4), 8, 4, 100)["epsilon"]
    assert 1e8 < loud < math.inf
