"""Name the records of Flower's messages."""

ADAPTER_RECORD = "adapter"
BASE_DELTAS_RECORD = "base_deltas"
CONTROL_RECORD = "control"
ROUND_RECORD = "round"
METRICS_RECORD = "metrics"
VERSIONS_RECORD = "versions"
