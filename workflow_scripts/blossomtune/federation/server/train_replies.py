"""Validate the clients' replies of a round."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flwr.app import Message

from blossomtune.artifacts.round_record import ClientFailure, ClientTrainRecord
from blossomtune.federation.messages import codec
from blossomtune.federation.messages.replies import ValidatedReply, decode_train_reply
from blossomtune.federation.server.nodes import extract_error_message
from blossomtune.federation.server.request_batch import RequestBatch
from blossomtune.federation.spec import FederationSpec
from blossomtune.named_tensors import StateDict


@dataclass(frozen=True)
class TrainReplies:
    """Replies of the sampled clients, each in the order of the clients.

    Attributes:
        valid: Validated replies, by client.
        records: Records of the clients with a valid reply.
        failed: Records of the other clients.
    """

    valid: dict[int, ValidatedReply]
    records: list[ClientTrainRecord]
    failed: list[ClientFailure]


def collect_train_replies(
    spec: FederationSpec,
    sampled_clients: Sequence[int],
    requests: RequestBatch,
    start_by_rank: Mapping[int, StateDict],
    replies: Iterable[tuple[int, Message]],
) -> TrainReplies:
    """Validate replies as they arrive, and record what each sampled client did.

    Args:
        spec: What is trained.
        sampled_clients: The round's clients in ascending order; some may have no node.
        requests: Messages that were sent.
        start_by_rank: Trained part of the adapter as clients received it, by rank.
        replies: Pairs of client and reply, in any order.

    Returns:
        Validated replies, and records for the history.
    """
    precision = spec.federation.communication.precision
    with_control = spec.federation.strategy.name == "scaffold"
    timeout = f"no answer in {spec.federation.round_timeout:g} s"
    reasons = {c: timeout if c in requests.contents else "not there" for c in sampled_clients}
    bytes_up = dict.fromkeys(sampled_clients, 0)
    valid: dict[int, ValidatedReply] = {}
    for client, reply in replies:
        if reply.has_error():
            reasons[client] = extract_error_message(reply)
            continue
        bytes_up[client] = codec.count_message_bytes(reply.content)
        start = start_by_rank[spec.clients[client].rank]
        try:
            valid[client] = decode_train_reply(
                reply.content, start, precision, with_control=with_control
            )
        except ValueError as error:
            reasons[client] = str(error)
    records: list[ClientTrainRecord] = []
    failed: list[ClientFailure] = []
    for client in sampled_clients:
        traffic: dict[str, Any] = {
            "client": client,
            "name": spec.clients[client].name,
            "bytes_down": requests.sizes.get(client, 0),
            "bytes_up": bytes_up[client],
        }
        if client in valid:
            rank, metrics = spec.clients[client].rank, valid[client].metrics
            records.append(ClientTrainRecord(**traffic, rank=rank, **metrics))
        else:
            failed.append(ClientFailure(**traffic, reason=reasons[client]))
    return TrainReplies({client: valid[client] for client in sorted(valid)}, records, failed)
