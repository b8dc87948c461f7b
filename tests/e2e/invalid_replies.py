"""Train replies of a client that has a key and does not keep to the protocol."""

from flwr.app import MetricRecord, RecordDict

from blossomtune.federation.messages import codec
from blossomtune.federation.messages.records import ADAPTER_RECORD, METRICS_RECORD
from blossomtune.federation.messages.replies import TRAIN_METRICS

FAULTS = {
    "shape": "instead of",
    "nan": "holds values that are not finite",
    "huge": "federation.max_update_norm allows",
    "count": "the reply says 1e+18 for num-examples",
    "loss": "the reply says 1e+300 for train-loss",
    "precision": "float32 was agreed on",
    "bytes": "the reply cannot be read",
}
"""A part of the reason in log and history, by fault."""


class BrokenRecords(RecordDict):
    """Records whose bytes are not those of Flower's protocol."""

    def deflate(self):
        return b"RecordDict  7\0no JSON"


def build_invalid_reply(content, fault):
    """Return a train reply with a fault."""
    if fault == "bytes":
        return BrokenRecords()
    state = codec.decode(content[ADAPTER_RECORD])
    name = next(iter(state))
    change = {"shape": lambda v: v[1:], "nan": lambda v: v / 0 * 0, "huge": lambda v: v + 1e30}
    state[name] = change.get(fault, lambda v: v)(state[name])
    values = {"count": {"num-examples": 1e18}, "loss": {"train-loss": 1e300}}.get(fault, {})
    metrics = MetricRecord(dict.fromkeys(TRAIN_METRICS, 1.0) | values)
    precision = "bfloat16" if fault == "precision" else "float32"
    return RecordDict({ADAPTER_RECORD: codec.encode(state, precision)[0], METRICS_RECORD: metrics})
