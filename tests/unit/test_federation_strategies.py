import numpy as np
import pytest
import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from blossomtune.config.experiments import Federation
from blossomtune.federation.client_app import ADAPTER, METRICS
from blossomtune.federation.strategies import aggregate, build


@pytest.fixture(autouse=True)
def inside_a_run():
    """Flower's messages can only be made inside a run."""
    TaskIdentity.task_id = TaskIdentity.run_id = TaskIdentity.node_id = 1


def reply(state, examples):
    metrics = MetricRecord({"num-examples": float(examples), "train-loss": 1.0})
    content = RecordDict({ADAPTER: ArrayRecord(state), METRICS: metrics})
    return Message(content, dst_node_id=1, message_type="train")


def test_fedavg_weighs_by_the_examples_trained_on():
    generator = np.random.default_rng(0)
    states = [{"a": torch.tensor(generator.normal(size=(3, 5)))} for _ in range(3)]
    counts = [80, 8, 40]
    replies = [reply(s, n) for s, n in zip(states, counts, strict=True)]
    got = aggregate(build(Federation()), 1, replies)["a"]
    want = sum(s["a"] * n for s, n in zip(states, counts, strict=True)) / sum(counts)
    assert torch.allclose(got, want, rtol=1e-6)


def test_equal_clients_come_back_unchanged():
    state = {"a": torch.randn(4, 4), "b": torch.randn(2)}
    got = aggregate(build(Federation()), 1, [reply(state, 8) for _ in range(4)])
    assert all(torch.equal(got[name], state[name]) for name in state)
