"""Validate the clients' replies of a round, and record what each client did."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from flwr.app import Message

from blossomtune.artifacts.round_record import (
    ClientEvaluation,
    ClientFailure,
    ClientTrainRecord,
    FederatedEvaluation,
)
from blossomtune.federation.messages import codec
from blossomtune.federation.messages.replies import (
    ValidatedReply,
    decode_evaluate_reply,
    decode_train_reply,
)
from blossomtune.federation.server.nodes import extract_error_message
from blossomtune.federation.server.request_batch import RequestBatch
from blossomtune.federation.server.tensor_spool import TensorSpool
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
    spool: TensorSpool,
) -> TrainReplies:
    """Validate replies as they arrive, and record what each sampled client did.

    Valid tensors are spooled, so that one reply is in memory at a time.

    Args:
        spec: What is trained.
        sampled_clients: The round's clients in ascending order; some may have no node.
        requests: Messages that were sent.
        start_by_rank: Trained part of the adapter as clients received it, by rank.
        replies: Pairs of client and reply, in any order.
        spool: Where the replies' tensors are written to.

    Returns:
        Validated replies, and records for the history.
    """
    precision = spec.federation.communication.precision
    with_control = spec.federation.strategy.name == "scaffold"
    reasons = dict.fromkeys(sampled_clients, "not there")
    reasons |= dict.fromkeys(requests.contents, _describe_timeout(spec))
    bytes_up: dict[int, int] = {}
    valid: dict[int, ValidatedReply] = {}
    for client, reply in replies:
        if reply.has_error():
            reasons[client] = extract_error_message(reply)
            continue
        bytes_up[client] = codec.count_message_bytes(reply.content)
        start = start_by_rank[spec.clients[client].rank]
        try:
            decoded = decode_train_reply(reply.content, start, precision, with_control=with_control)
        except ValueError as error:
            reasons[client] = str(error)
            continue
        control = decoded.control_delta
        valid[client] = replace(
            decoded,
            state=spool.write(decoded.state.items()),
            control_delta=None if control is None else spool.write(control.items()),
        )
    result = TrainReplies({client: valid[client] for client in sorted(valid)}, [], [])
    for client in sampled_clients:
        traffic = _describe_traffic(spec, requests, client, bytes_up.get(client, 0))
        if client in valid:
            rank, metrics = spec.clients[client].rank, valid[client].metrics
            result.records.append(ClientTrainRecord(**traffic, rank=rank, **metrics))
        else:
            result.failed.append(ClientFailure(**traffic, reason=reasons[client]))
    return result


def collect_evaluate_replies(
    spec: FederationSpec, requests: RequestBatch, replies: Iterable[tuple[int, Message]]
) -> FederatedEvaluation:
    """Collect the clients' losses and their mean, weighted by rows.

    Args:
        spec: What is trained.
        requests: Messages that were sent.
        replies: Pairs of client and reply, in any order.

    Returns:
        Losses in nats per completion token, and the clients without a usable reply.
    """
    received = dict(replies)
    clients: list[ClientEvaluation] = []
    failed: list[ClientFailure] = []
    for client in sorted(requests.contents):
        reply, bytes_up, metrics = received.get(client), 0, None
        if reply is None:
            reason = _describe_timeout(spec)
        elif reply.has_error():
            reason = extract_error_message(reply)
        else:
            reason = "the score makes no sense"
            bytes_up = codec.count_message_bytes(reply.content)
            metrics = decode_evaluate_reply(reply.content)
        traffic = _describe_traffic(spec, requests, client, bytes_up)
        if metrics:
            clients.append(ClientEvaluation(**traffic, **metrics))
        else:
            failed.append(ClientFailure(**traffic, reason=reason))
    rows = sum(client.rows for client in clients)
    loss = sum(client.loss * client.rows for client in clients)
    mean = round(loss / rows, 6) if clients else None
    return FederatedEvaluation(loss=mean, clients=clients, failed=failed)


def _describe_timeout(spec: FederationSpec) -> str:
    return f"no answer in {spec.federation.round_timeout:g} s"


def _describe_traffic(
    spec: FederationSpec, requests: RequestBatch, client: int, bytes_up: int
) -> dict[str, Any]:
    """Return the fields of ``ClientTraffic``."""
    name, bytes_down = spec.clients[client].name, requests.sizes.get(client, 0)
    return {"client": client, "name": name, "bytes_down": bytes_down, "bytes_up": bytes_up}
