"""Description of replies; the lines of a whole invitation are in test_client_setup."""

import pytest
import torch
from federation_samples import federation_spec

from blossomtune.config.lora import LoraSettings
from blossomtune.config.training import TrainingSettings
from blossomtune.deployment.join_summary import describe_replies
from blossomtune.federation.messages import codec
from blossomtune.federation.messages.replies import TRAIN_METRICS, TrainReply, encode_train_reply
from blossomtune.federation.spec import ClientSpec


@pytest.mark.parametrize(
    "federation",
    [
        {},
        {"aggregation": "ffa"},
        {"communication": {"precision": "int8"}},
        {"strategy": {"name": "scaffold"}},
    ],
    ids=str,
)
def test_description_matches_a_reply(tiny_model, federation):
    spec = federation_spec(LoraSettings(r=4, alpha=8), TrainingSettings(), **federation)
    clients = (ClientSpec(name="north", num_rows=6, rank=4),)
    described = describe_replies(spec.model_copy(update={"clients": clients}), 0, tiny_model)
    shapes = described["tensors"]
    assert all(name.endswith("lora_B.weight") for name in shapes) == ("aggregation" in federation)
    start = {name: torch.zeros(shape) for name, shape in shapes.items()}
    state = {name: torch.randn(shape) for name, shape in shapes.items()}
    control = {n: v + 1 for n, v in state.items()} if described["control_variate"] else None
    metrics = dict.fromkeys(TRAIN_METRICS, 1 / 3)
    reply = TrainReply(start, state, control, metrics, {})
    content, _ = encode_train_reply(reply, spec.federation.communication.precision)
    assert set(content.metric_records["metrics"]) == set(described["metrics"])
    size = codec.count_message_bytes(content)
    assert size <= described["max_bytes"] < size + 5000
