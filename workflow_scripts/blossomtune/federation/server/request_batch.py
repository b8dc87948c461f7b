"""Encode the server's messages to the clients of a round."""

from collections.abc import Mapping
from dataclasses import dataclass

from flwr.app import ArrayRecord, RecordDict

from blossomtune.aggregation.layers import truncate_rank
from blossomtune.config.conflicts import REINITIALIZING_AGGREGATIONS
from blossomtune.config.lora import compute_scaling
from blossomtune.federation.messages import codec
from blossomtune.federation.messages.requests import encode_base_deltas, encode_request
from blossomtune.federation.server.server_state import ServerState
from blossomtune.federation.spec import FederationSpec
from blossomtune.named_tensors import StateDict
from blossomtune.training.adapter import select_factor


@dataclass(frozen=True)
class RequestBatch:
    """Messages to the clients of a round.

    Attributes:
        contents: Content of the message, by client.
        sizes: Bytes of the content, by client.
        received_states: Adapter as clients decode it, by rank.
        residual: Rounding error of the adapter, which is added to the next one.
    """

    contents: dict[int, RecordDict]
    sizes: dict[int, int]
    received_states: dict[int, StateDict]
    residual: StateDict


def build_requests(
    spec: FederationSpec,
    state: ServerState,
    run_name: str,
    round_number: int,
    sampled_rounds: Mapping[int, int],
    train_config: Mapping[str, float] | None = None,
) -> RequestBatch:
    """Encode one message per client. Clients of the same rank and history share its content.

    Args:
        spec: What is trained.
        state: State of the server.
        run_name: Identifier of the run.
        round_number: Number of the round, from 1.
        sampled_rounds: Number of earlier rounds in which a client was sampled, by client to send
            to.
        train_config: Settings of Flower's mods; None for a message that asks for an evaluation.

    Returns:
        Contents and sizes, and the adapters as clients decode them.
    """
    precision = spec.federation.communication.precision
    adapter_records, received_states, residual = _encode_adapters(
        spec, state, {spec.clients[client].rank for client in sampled_rounds}
    )
    control = None
    if train_config is not None and state.control_variate is not None:
        control, _ = codec.encode(state.control_variate, "float32")
    encoded: dict[tuple[int, int, int], tuple[RecordDict, int]] = {}
    contents: dict[int, RecordDict] = {}
    sizes: dict[int, int] = {}
    for client, earlier in sampled_rounds.items():
        rank, last = spec.clients[client].rank, state.last_participation.get(client, 0)
        if (rank, last, earlier) not in encoded:
            # The client's last round made an update after its reply, so that one is new to it.
            new = {number: d for number, d in state.base_deltas.items() if number >= last}
            content = encode_request(
                adapter_records[rank],
                round_number,
                last,
                earlier,
                run_name,
                base_deltas=encode_base_deltas(new, precision) if new else None,
                server_control=control,
                extra_config=train_config,
            )
            encoded[rank, last, earlier] = content, codec.count_message_bytes(content)
        contents[client], sizes[client] = encoded[rank, last, earlier]
    return RequestBatch(contents, sizes, received_states, residual)


def _encode_adapters(
    spec: FederationSpec, state: ServerState, ranks: set[int]
) -> tuple[dict[int, ArrayRecord], dict[int, StateDict], StateDict]:
    """Return the adapter's record and its decoded tensors by rank, and the residual."""
    precision, aggregation = spec.federation.communication.precision, spec.federation.aggregation
    sent = select_factor(state.adapter, "B" if aggregation == "ffa" else "both")
    rounded, residual = sent, StateDict()
    if aggregation not in REINITIALIZING_AGGREGATIONS:  # else the error is another tensor's
        record, residual = codec.encode(sent, precision, state.residual)
        rounded = codec.decode(record)
    server_scale = compute_scaling(spec.lora, spec.lora.r)
    records, decoded = {}, {}
    for rank in ranks:
        truncated = rounded
        if rank != spec.lora.r:
            truncated = truncate_rank(rounded, rank, server_scale, compute_scaling(spec.lora, rank))
        records[rank], _ = codec.encode(truncated, precision)
        decoded[rank] = codec.decode(records[rank])
    return records, decoded, residual
