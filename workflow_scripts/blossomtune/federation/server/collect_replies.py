"""Validate the clients' replies of a round, and record what each client did."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from flwr.app import Message, RecordDict

from blossomtune.artifacts.round_record import (
    ClientEvaluation,
    ClientFailure,
    ClientTrainRecord,
    FederatedEvaluation,
)
from blossomtune.federation.messages import codec
from blossomtune.federation.messages.reply_limits import compute_reply_limits
from blossomtune.federation.messages.reply_validation import (
    TrainReplySchema,
    ValidatedReply,
    decode_evaluate_reply,
    decode_train_reply,
)
from blossomtune.federation.server.nodes import extract_error_message
from blossomtune.federation.server.request_batch import RequestBatch
from blossomtune.federation.server.tensor_spool import TensorSpool
from blossomtune.federation.spec import FederationSpec
from blossomtune.named_tensors import StateDict
from blossomtune.privacy.record_keys import sends_norm_bit
from blossomtune.text_cleaning import clean_line

T = TypeVar("T")


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
    *,
    server_control: StateDict | None = None,
    learning_rate: float = 0.0,
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
        server_control: SCAFFOLD's control variate c, if that is the strategy.
        learning_rate: Learning rate of the round.

    Returns:
        Validated replies, and records for the history.
    """
    reasons = dict.fromkeys(sampled_clients, "not there")
    reasons |= dict.fromkeys(requests.contents, _describe_timeout(spec))
    bytes_up: dict[int, int] = {}
    valid: dict[int, ValidatedReply] = {}
    for client, reply in replies:
        schema = TrainReplySchema(
            start_by_rank[spec.clients[client].rank],
            spec.federation.communication.precision,
            compute_reply_limits(spec, client),
            server_control,
            learning_rate,
            with_norm_bit=sends_norm_bit(spec.federation.privacy),
        )
        decoded, reason, bytes_up[client] = _read_reply(
            reply, partial(decode_train_reply, schema=schema)
        )
        if decoded is None:
            reasons[client] = reason
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
        metrics, reason, bytes_up = None, _describe_timeout(spec), 0
        if reply := received.get(client):
            limits = compute_reply_limits(spec, client)
            metrics, reason, bytes_up = _read_reply(
                reply, partial(decode_evaluate_reply, limits=limits)
            )
        traffic = _describe_traffic(spec, requests, client, bytes_up)
        if metrics:
            clients.append(ClientEvaluation(**traffic, **metrics))
        else:
            failed.append(ClientFailure(**traffic, reason=reason))
    rows = sum(client.rows for client in clients)
    loss = sum(client.loss * client.rows for client in clients)
    mean = round(loss / rows, 6) if clients else None
    return FederatedEvaluation(loss=mean, clients=clients, failed=failed)


def _read_reply(reply: Message, decode: Callable[[RecordDict], T]) -> tuple[T | None, str, int]:
    """Return a decoded reply or None, the reason if it cannot be used, and its size in bytes."""
    if reply.has_error():
        return None, extract_error_message(reply), 0
    num_bytes = 0
    try:
        num_bytes = codec.count_message_bytes(reply.content)
        return decode(reply.content), "", num_bytes
    except Exception as error:  # whatever a client's bytes cause is this client's failure
        return None, clean_line(str(error) or type(error).__name__), num_bytes


def _describe_timeout(spec: FederationSpec) -> str:
    return f"no answer in {spec.federation.round_timeout:g} s"


def _describe_traffic(
    spec: FederationSpec, requests: RequestBatch, client: int, bytes_up: int
) -> dict[str, Any]:
    """Return the fields of ``ClientTraffic``."""
    name, bytes_down = spec.clients[client].name, requests.sizes.get(client, 0)
    return {"client": client, "name": name, "bytes_down": bytes_down, "bytes_up": bytes_up}
