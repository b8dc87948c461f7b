"""Federations in this process: everything but the engine, on a grid of ClientApps."""

import safetensors.torch
from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from blossomtune.config.experiments import ExperimentSettings
from blossomtune.federation.client.client_app import build_client_app
from blossomtune.files import compute_file_sha256


class InProcess(Grid):
    """Answers a message when it is asked for the reply; ``order`` says which node is asked first.

    Args:
        run: the federation.
        order: node ids in the order in which replies come.
    """

    def __init__(self, run, order=None):
        TaskIdentity.run_id = TaskIdentity.node_id = TaskIdentity.task_id = 1  # as an engine does
        self.app: ClientApp = build_client_app(lambda _: run)
        self.nodes = [100 + i for i in range(len(run.spec.clients))]
        self.order = order or self.nodes
        self.waiting = {}
        self.contents = []

    def _context(self, node):
        config = {"partition-id": node - 100}
        return Context(0, node, config, RecordDict(), {})

    def push_messages(self, messages):
        for message in messages:
            message.metadata.__dict__["_message_id"] = str(len(self.contents))
            self.contents.append(message.content)
            self.waiting[message.metadata.message_id] = message
        return [message.metadata.message_id for message in messages]

    def pull_messages(self, message_ids):
        asked = [self.waiting.pop(i) for i in list(message_ids)]
        asked.sort(key=lambda m: self.order.index(m.metadata.dst_node_id))
        return [self._reply(message) for message in asked]

    def _reply(self, message):
        try:
            return self.app(message, self._context(message.metadata.dst_node_id))
        except Exception as error:  # as Flower's engines do
            return Message(Error(0, f"Message: {error}"), reply_to=message)

    def get_node_ids(self):
        return self.nodes

    def get_nodes(self):
        return self.nodes

    # What follows, Grid asks for and our rounds never call; if they did, a test would fail here.

    def create_message(self, *args, **kwargs):
        raise NotImplementedError

    def set_run(self, *args, **kwargs):
        raise NotImplementedError

    def send_and_receive(self, *args, **kwargs):
        raise NotImplementedError

    @property
    def run(self):
        raise NotImplementedError


def experiment(lora=None, training=None, arguments=None, **federation):
    """A small experiment of three clients: its blocks, each with other keys than these."""
    rates = {"learning_rate_max": 1e-2, "learning_rate_min": 1e-2}  # more rounds go on
    steps = {"per_device_train_batch_size": 4, "max_steps": 3} | (arguments or {})
    return ExperimentSettings.model_validate(
        {
            **dict.fromkeys(("model", "partition", "preprocessing"), "x"),
            "lora": {"r": 4, "alpha": 8} | (lora or {}),
            "training": rates | (training or {}) | {"arguments": steps},
            "federation": {"rounds": 2, "evaluate_rows": 10} | federation,
        }
    )


def weights(run):
    """The checksum of what a federation made."""
    return compute_file_sha256(run.paths.adapter / "adapter_model.safetensors")


def trained(run):
    """The adapter that a federation made, as tensors by name."""
    return safetensors.torch.load_file(run.paths.adapter / "adapter_model.safetensors")


def told(history):
    """A history without what clocks say."""
    if isinstance(history, dict):
        return {key: told(value) for key, value in history.items() if key != "seconds"}
    return [told(value) for value in history] if isinstance(history, list) else history
