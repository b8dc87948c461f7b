"""Federations in this process: a Flower grid that calls the ClientApp directly."""

import gc

import safetensors.torch
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid

from blossomtune.config.experiments import ExperimentSettings
from blossomtune.deployment.flower_internal import set_message_id, set_task_identity
from blossomtune.federation.client.client_app import build_client_app
from blossomtune.files import compute_file_sha256

FIRST_NODE = 100


class LocalGrid(Grid):
    """A grid whose nodes train when the server pulls their replies.

    Args:
        run: The federated run.
        order: Node ids in the order in which their replies arrive; by default that of the clients.
    """

    def __init__(self, run, order=None):
        set_task_identity(1, 1, 1)  # as an engine does
        self.app: ClientApp = build_client_app(lambda _: run)
        self.nodes = [FIRST_NODE + i for i in range(len(run.spec.clients))]
        self.order = order or self.nodes
        self.pending = {}
        self.contents = []

    def push_messages(self, messages):
        for message in messages:
            set_message_id(message, str(len(self.contents)))
            self.contents.append(message.content)
            self.pending[message.metadata.message_id] = message
        return [message.metadata.message_id for message in messages]

    def pull_messages(self, message_ids):
        gc.freeze()  # as in a client's process, where nothing unfreezes it again
        messages = [self.pending.pop(i) for i in list(message_ids)]
        messages.sort(key=lambda m: self.order.index(m.metadata.dst_node_id))
        return [self._reply(message) for message in messages]

    def _reply(self, message):
        node = message.metadata.dst_node_id
        context = Context(0, node, {"partition-id": node - FIRST_NODE}, RecordDict(), {})
        try:
            return self.app(message, context)
        except Exception as error:  # as Flower's engines do
            return Message(Error(0, f"Message: {error}"), reply_to=message)

    def get_node_ids(self):
        return self.nodes

    def get_nodes(self):
        return self.nodes

    # Grid requires these; a test fails here if the server starts to call them.

    def create_message(self, *args, **kwargs):
        raise NotImplementedError

    def set_run(self, *args, **kwargs):
        raise NotImplementedError

    def send_and_receive(self, *args, **kwargs):
        raise NotImplementedError

    @property
    def run(self):
        raise NotImplementedError


def build_experiment(lora=None, training=None, arguments=None, **federation):
    """Return settings of a small experiment; the arguments replace keys of its blocks."""
    rates = {"learning_rate_max": 1e-2, "learning_rate_min": 1e-2}  # for any number of rounds
    steps = {"per_device_train_batch_size": 4, "max_steps": 3} | (arguments or {})
    return ExperimentSettings.model_validate(
        {
            **dict.fromkeys(("model", "partition", "preprocessing"), "x"),
            "lora": {"r": 4, "alpha": 8} | (lora or {}),
            "training": rates | (training or {}) | {"arguments": steps},
            "federation": {"rounds": 2, "evaluate_rows": 10} | federation,
        }
    )


def hash_adapter(run):
    """Return the SHA-256 of the adapter's weights."""
    return compute_file_sha256(run.paths.adapter / "adapter_model.safetensors")


def load_adapter(run):
    """Return the adapter's tensors by name."""
    return safetensors.torch.load_file(run.paths.adapter / "adapter_model.safetensors")


def drop_seconds(history):
    """Return a history without measured times."""
    if isinstance(history, dict):
        return {key: drop_seconds(value) for key, value in history.items() if key != "seconds"}
    return [drop_seconds(value) for value in history] if isinstance(history, list) else history
