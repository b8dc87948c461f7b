"""Rounds of many clients in this process, whose replies are built when the server pulls them."""

import torch
from flwr.app import Message, MessageType, MetricRecord, RecordDict

from blossomtune.config.federation import FederationSettings
from blossomtune.config.lora import LoraSettings
from blossomtune.config.training import TrainingSettings
from blossomtune.deployment.flower_internal import set_message_id, set_task_identity
from blossomtune.federation.messages import replies
from blossomtune.federation.messages.replies import TrainReply
from blossomtune.federation.messages.versions import encode_versions
from blossomtune.federation.server.rounds import RoundRunner
from blossomtune.federation.spec import ClientSpec, FederationSpec
from blossomtune.training.adapter import select_factor
from blossomtune.training.checkpoints import Checkpoint

FIRST_NODE, RANK = 100, 4


def build_adapter(num_layers, size):
    """Return random factors of layers with (size, size) weights: 32 bytes per layer and size."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for layer in range(num_layers):
        state[f"layers.{layer}.q_proj.lora_A.weight"] = torch.empty(RANK, size)
        state[f"layers.{layer}.q_proj.lora_B.weight"] = torch.empty(size, RANK)
    return {n: value.uniform_(-0.1, 0.1, generator=generator) for n, value in state.items()}


class ManyClientsGrid:
    """Grid whose clients scale the adapter by their number.

    Args:
        num_clients: Number of clients.
        adapter: The adapter that they train.
        spec: What is trained.
    """

    def __init__(self, num_clients, adapter, spec):
        self.num_clients, self.adapter, self.spec = num_clients, adapter, spec
        self.pending = {}

    def get_node_ids(self):
        return [FIRST_NODE + client for client in range(self.num_clients)]

    def push_messages(self, messages):
        for message in messages:
            set_message_id(message, str(len(self.pending)))
            self.pending[message.metadata.message_id] = message
        return [message.metadata.message_id for message in messages]

    def pull_messages(self, message_ids):
        """Yield one reply after another."""
        for message_id in message_ids:
            yield self.answer(self.pending[message_id])

    def answer(self, message):
        client = message.metadata.dst_node_id - FIRST_NODE
        return Message(self.build_content(message, client), reply_to=message)

    def build_content(self, message, client):
        """Return the content of a client's reply."""
        if message.metadata.message_type == MessageType.QUERY:
            metrics = MetricRecord({"client": client})
            return RecordDict({"metrics": metrics, "versions": encode_versions()})
        return self.train(client)

    def train(self, client):
        sent = self.adapter
        if self.spec.federation.aggregation in ("ffa", "rolora"):
            sent = select_factor(self.adapter, "B")
        state = {n: value * (1 + 0.01 * client) for n, value in sent.items()}
        control = state if self.spec.federation.strategy.name == "scaffold" else None
        metrics = dict.fromkeys(replies.TRAIN_METRICS, 1.0)
        return replies.encode_train_reply(TrainReply({}, state, control, metrics, {}), "float32")[0]


def build_spec(num_clients, **federation):
    """Return what is trained; keywords are keys of the federation block."""
    keys = {"rounds": 4, "round_timeout": 7200, "max_update_norm": None}  # made-up updates
    settings = FederationSettings(**keys | federation)
    clients = [ClientSpec(name=f"c{i}", num_rows=1, rank=RANK) for i in range(num_clients)]
    return FederationSpec(
        seed=1,
        lora=LoraSettings(r=RANK, alpha=8),
        training=TrainingSettings(),
        federation=settings,
        clients=tuple(clients),
        base_model_name="base",
        max_length=128,
    )


def build_runner(num_clients, adapter, spool_dir, **federation):
    """Return the runner of a federation, whose keywords are keys of the federation block."""
    set_task_identity(1, 1, 1)
    spec = build_spec(num_clients, **federation)
    grid = ManyClientsGrid(num_clients, adapter, spec)
    checkpoint = Checkpoint(0, adapter, [])
    return RoundRunner(grid, spec, "0123456789abcdef", checkpoint, spool_dir=spool_dir)
