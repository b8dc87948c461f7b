import math

import pytest
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, MetricRecord, RecordDict
from private_rounds import NEGLIGIBLE_NOISE, build_strategy, client_results, l2_norm, zeros

from blossomtune.config.federation import FederationSettings, PrivacySettings
from blossomtune.federation.server.strategies import ServerStrategy, WeightedState
from blossomtune.privacy.clipping import build_clipping_mod
from blossomtune.privacy.noisy_average import build_noisy_average

SIDES = pytest.mark.parametrize("side", ["server", "client"])
CLIPPINGS = pytest.mark.parametrize("clipping", ["fixed", "adaptive"])


@SIDES
@CLIPPINGS
def test_noise_deviation_belongs_to_the_number_of_replies(side, clipping):
    """It is z · norm / replies; adaptive clipping shares it with the count of clipped updates."""
    strategy = build_strategy(side=side, clipping=clipping, noise_multiplier=2.0, clipping_norm=0.3)
    size = 200_000
    for round_number, num_replies in ((1, 3), (2, 5)):
        results = client_results(*[0.0] * num_replies, size=size)
        noise = strategy.aggregate_train(round_number, zeros(size), results)
        metrics = strategy.get_privacy_metrics()
        share = 1 if clipping == "fixed" else math.sqrt(4 / 3)
        expected = 2.0 * share * metrics["clipping_norm"] / num_replies
        assert noise["one"].double().std().item() == pytest.approx(expected, rel=0.01)
        assert abs(noise["one"].double().mean().item()) < 5 * expected / math.sqrt(size)
        assert metrics["noise_deviation"] == pytest.approx(expected, rel=1e-12)
        if round_number == 1 or clipping == "fixed":
            assert metrics["clipping_norm"] == 0.3
        else:  # the noise above is that of the norm which clipped, not of the next one
            assert metrics["clipping_norm"] != 0.3


@CLIPPINGS
def test_an_outlier_moves_the_result_by_at_most_the_norm(clipping):
    privacy = {"clipping": clipping, "noise_multiplier": NEGLIGIBLE_NOISE, "clipping_norm": 0.3}
    honest = [0.1, 0.2, 0.25]
    states = [
        build_strategy(**privacy).aggregate_train(1, zeros(), client_results(*honest, outlier))
        for outlier in (0.0, 0.3, 1e6, 1e18)
    ]
    for state in states[1:]:
        distance = l2_norm({name: state[name] - states[0][name] for name in state})
        assert distance == pytest.approx(0.3 / 4, rel=1e-5)
    mean = sum(result.state["one"] for result in client_results(*honest)) / 4
    assert torch.allclose(states[0]["one"], mean, atol=1e-7)


def test_clients_with_more_examples_have_no_larger_weight():
    states = [
        build_strategy(noise_multiplier=NEGLIGIBLE_NOISE).aggregate_train(
            1, zeros(), client_results(0.05, 0.08, weights=weights)
        )
        for weights in ((1, 1), (1, 10**6))
    ]
    assert torch.allclose(states[0]["one"], states[1]["one"], atol=1e-8)


@SIDES
@CLIPPINGS
def test_unchanged_clients_are_averaged_like_others(side, clipping):
    start = {"one": torch.randn(20, 2), "two": torch.zeros(1)}
    results = [WeightedState({n: t.clone() for n, t in start.items()}, 8, False) for _ in range(3)]
    strategy = build_strategy(side=side, clipping=clipping, noise_multiplier=NEGLIGIBLE_NOISE)
    state = strategy.aggregate_train(1, start, results)
    assert all(torch.allclose(state[name], start[name], atol=1e-7) for name in state)


@pytest.mark.parametrize(("side", "quantile"), [("server", 0.3), ("client", 0.8)])
@pytest.mark.parametrize("initial_norm", [0.02, 20.0])
def test_adaptive_norm_converges_to_the_quantile_of_the_updates(side, quantile, initial_norm):
    norms = [0.1 * 1.5**i for i in range(10)]
    strategy = build_strategy(
        clipping="adaptive",
        side=side,
        clipping_norm=initial_norm,
        noise_multiplier=0.05,
        target_quantile=quantile,
        clipping_rate=1.0,
    )
    states = [result.state for result in client_results(*norms)]
    for round_number in range(1, 31):
        norm = strategy.configure_train().get("clipping_norm", math.inf)
        results = [WeightedState(s, 8, n > norm) for s, n in zip(states, norms, strict=True)]
        strategy.aggregate_train(round_number, zeros(), results)
    final_norm = strategy.get_privacy_metrics()["clipping_norm"]
    assert abs(sum(n <= final_norm for n in norms) / 10 - quantile) <= 0.1 + 1e-9


@SIDES
@pytest.mark.parametrize("num_replies", [1, 4, 100])
def test_adaptive_clipping_has_the_guarantee_of_the_whole_multiplier(side, num_replies):
    """A replaced client moves the sum by 2 norms and the count by 1."""
    privacy = PrivacySettings(clipping="adaptive", side=side, noise_multiplier=1.5)
    wrapper = build_noisy_average(privacy, 0.1, num_replies, ArrayRecord())
    sensitivity = (2 / wrapper.noise_multiplier) ** 2 + (1 / wrapper.clipped_count_stddev) ** 2
    assert 1 / math.sqrt(sensitivity) == pytest.approx(1.5 / 2)
    assert wrapper.noise_multiplier <= 1.16 * 1.5


def run_clipping_mod(privacy, step, config=None, fails=False):
    """Return norm and norm bit of a reply whose train function adds ``step`` to the diagonal.

    For an error reply, return the reason and None.
    """
    start = {"one": torch.ones(20, 2), "two": torch.zeros(1)}

    def train(message, context):
        if fails:
            return Message(Error(code=0, reason="no memory"), reply_to=message)
        state = {n: t + step * torch.eye(*t.shape) for n, t in start.items() if t.dim() > 1}
        metrics = MetricRecord({"num-examples": 8.0})
        content = {"adapter": ArrayRecord({**start, **state}), "metrics": metrics}
        return Message(RecordDict(content), reply_to=message)

    if config is None:
        config = ServerStrategy(FederationSettings(privacy=privacy), 7).configure_train()
    content = RecordDict({"adapter": ArrayRecord(start), "round": ConfigRecord(config)})
    message = Message(content, dst_node_id=1, message_type="train")
    mod = build_clipping_mod(privacy)
    reply = mod(message, Context(1, 1, {}, RecordDict(), {}), train)
    if reply.has_error():
        return reply.error.reason, None
    state = reply.content["adapter"].to_torch_state_dict()
    assert list(state) == list(start)
    distance = l2_norm({name: state[name] - start[name] for name in start})
    return distance, reply.content["metrics"].get("norm_bit")


@CLIPPINGS
def test_clients_clip_their_updates(clipping):
    privacy = PrivacySettings(side="client", clipping=clipping, clipping_norm=0.25)
    large, small = run_clipping_mod(privacy, 3.0), run_clipping_mod(privacy, 0.1)
    assert large[0] == pytest.approx(0.25, rel=1e-4)
    assert small[0] == pytest.approx(0.1 * math.sqrt(2), rel=1e-4)
    assert (large[1], small[1]) == ((1, 0) if clipping == "adaptive" else (None, None))
    assert run_clipping_mod(privacy, 0.0)[0] < 1e-6
    assert run_clipping_mod(privacy, 1.0, fails=True) == ("no memory", None)
    assert "clipping_norm" in run_clipping_mod(privacy, 1.0, config={"round": 1})[0]


def test_clients_have_no_mod_without_client_side_clipping():
    assert build_clipping_mod(PrivacySettings()) is None
    assert build_strategy().configure_train() == {}
    assert ServerStrategy(FederationSettings(), 7).get_privacy_metrics() is None
