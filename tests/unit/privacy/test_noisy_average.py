"""Tests that one reply at a time gives the bits that Flower gives for all replies together."""

import math

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower

from blossomtune.config.federation import PrivacySettings
from blossomtune.privacy.noisy_average import build_noisy_average

pytestmark = pytest.mark.usefixtures("flower_task")

SHAPES = {"a": (20, 3), "b": (7,)}


class CorrectedNorm:
    """Mixin with our correction of the norm update, for Flower's own aggregation."""

    def _geometric_update(self, clipped_fraction):
        excess = clipped_fraction - self.target_clipped_quantile
        self.next_norm = self.clipping_norm * math.exp(self.clip_norm_lr * excess)


class ServerSide(CorrectedNorm, flower.DifferentialPrivacyServerSideAdaptiveClipping):
    """Flower's wrapper with the corrected norm."""


class ClientSide(CorrectedNorm, flower.DifferentialPrivacyClientSideAdaptiveClipping):
    """Flower's wrapper with the corrected norm."""


def random_record(seed, scale=1.0):
    random = np.random.default_rng(seed)
    return ArrayRecord({n: Array(scale * random.normal(size=s)) for n, s in SHAPES.items()})


def list_replies(count):
    replies = []
    for i in range(count):
        metrics = MetricRecord({"num-examples": 1.0, "norm_bit": int(i % 3 == 0)})
        content = RecordDict({"arrays": random_record(i, 0.02 * (i + 1)), "metrics": metrics})
        replies.append(Message(content, dst_node_id=1, message_type="train"))
    return replies


def build_reference(privacy, average, start):
    if privacy.clipping == "fixed":
        classes = {
            "server": flower.DifferentialPrivacyServerSideFixedClipping,
            "client": flower.DifferentialPrivacyClientSideFixedClipping,
        }
        reference = classes[privacy.side](flower.FedAvg(), privacy.noise_multiplier, 0.1, 5)
    else:
        reference = {"server": ServerSide, "client": ClientSide}[privacy.side](
            flower.FedAvg(),
            privacy.noise_multiplier,
            5,
            initial_clipping_norm=0.1,
            target_clipped_quantile=1 - privacy.target_quantile,
            clip_norm_lr=privacy.clipping_rate,
            clipped_count_stddev=average.clipped_count_stddev,
        )
    reference.current_arrays = start
    return reference


@pytest.mark.parametrize("side", ["server", "client"])
@pytest.mark.parametrize("clipping", ["fixed", "adaptive"])
def test_average_has_the_bits_of_flower_s(side, clipping):
    privacy = PrivacySettings(side=side, clipping=clipping, noise_multiplier=0.5)
    start = random_record(100, 0.01)
    average = build_noisy_average(privacy, 0.1, 5, start)
    reference = build_reference(privacy, average, start)
    state = np.random.get_state()
    np.random.seed(3)
    actual = average.aggregate(iter(list_replies(5)))
    np.random.seed(3)
    expected, _ = reference.aggregate_train(1, list_replies(5))
    np.random.set_state(state)
    assert list(actual) == list(expected)
    assert all(actual[n].data == expected[n].data for n in expected)
    assert average.next_norm == getattr(reference, "next_norm", 0.1)
