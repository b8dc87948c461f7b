"""Collect the clients' evaluations of the global adapter."""

from collections.abc import Iterable
from typing import Any

from flwr.app import Message

from blossomtune.artifacts.round_record import (
    ClientEvaluation,
    ClientFailure,
    FederatedEvaluation,
)
from blossomtune.federation.messages import codec
from blossomtune.federation.messages.replies import decode_evaluate_reply
from blossomtune.federation.server.nodes import extract_error_message
from blossomtune.federation.server.request_batch import RequestBatch
from blossomtune.federation.spec import FederationSpec


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
        traffic: dict[str, Any] = {
            "client": client,
            "name": spec.clients[client].name,
            "bytes_down": requests.sizes[client],
            "bytes_up": 0,
        }
        reply = received.get(client)
        if reply is None:
            reason = f"no answer in {spec.federation.round_timeout:g} s"
        elif reply.has_error():
            reason = extract_error_message(reply)
        else:
            traffic["bytes_up"] = codec.count_message_bytes(reply.content)
            if metrics := decode_evaluate_reply(reply.content):
                clients.append(ClientEvaluation(**traffic, **metrics))
                continue
            reason = "the score makes no sense"
        failed.append(ClientFailure(**traffic, reason=reason))
    rows = sum(client.rows for client in clients)
    loss = sum(client.loss * client.rows for client in clients)
    mean = round(loss / rows, 6) if clients else None
    return FederatedEvaluation(loss=mean, clients=clients, failed=failed)
