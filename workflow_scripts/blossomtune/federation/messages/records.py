"""TODO docstring."""

ADAPTER_RECORD, BASE_DELTAS_RECORD, CONTROL_RECORD, ROUND_RECORD, METRICS_RECORD = (
    "adapter",
    "folded",
    "control",
    "round",
    "metrics",
)
"""Names of the records in a message."""
