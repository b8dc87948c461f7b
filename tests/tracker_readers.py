"""Read back what trackers stored, each by its own library: values by round and name.

Each reader fails if a value of a round is there twice.
"""

import json
import struct


def read_tensorboard(folder, run):
    """Read event files as TensorBoard does."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(folder / "tensorboard" / run), {"tensors": 0}).Reload()
    return _collect(
        (event.step, tag, make_ndarray(event.tensor_proto).item())
        for tag in events.Tags()["tensors"]
        for event in events.Tensors(tag)
    )


def read_trackio(folder, run):
    """Read trackio's database by its storage class, in this process's folder of trackio."""
    from trackio.sqlite_storage import SQLiteStorage

    rows = SQLiteStorage.get_logs("blossomtune", run)
    return _collect(
        (row["step"], name, value)
        for row in rows
        for name, value in row.items()
        if name not in ("step", "timestamp")
    )


def read_mlflow(folder, run):
    """Read MLflow's database by its client."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder / 'mlflow/mlflow.db'}")
    number = client.get_experiment_by_name("blossomtune").experiment_id
    [found] = client.search_runs([number], f"attributes.run_name = '{run}'")
    assert found.info.status == "FINISHED"
    return _collect(
        (metric.step, name, metric.value)
        for name in found.data.metrics
        for metric in client.get_metric_history(found.info.run_id, name)
    )


def read_wandb(folder, run):
    """Read the log of an offline run, which wandb has no reader of: LevelDB's format."""
    from wandb.proto.wandb_internal_pb2 import Record

    [path] = folder.glob(f"wandb/offline-run-*-{run}/run-{run}.wandb")
    values = []
    for content in _read_records(path.read_bytes()):
        record = Record.FromString(content)
        for item in record.history.item:
            [name] = item.nested_key
            if not name.startswith("_"):  # wandb's own
                values.append((record.history.step.num, name, json.loads(item.value_json)))
    return _collect(values)


READERS = {
    "tensorboard": read_tensorboard,
    "trackio": read_trackio,
    "mlflow": read_mlflow,
    "wandb": read_wandb,
}


def _read_records(data, block_size=2**15):
    """Yield the records of a log: blocks of chunks, each with checksum, length and type."""
    content, position = b"", 7  # after the file's own header
    while position + 7 <= len(data):
        if block_size - position % block_size < 7:  # no chunk starts here
            position += block_size - position % block_size
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        content += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield content
            content = b""


def _collect(values):
    rounds = {}
    for number, name, value in values:
        names = rounds.setdefault(number, {})
        assert name not in names, f"round {number} has {name} twice"
        names[name] = value
    return rounds
