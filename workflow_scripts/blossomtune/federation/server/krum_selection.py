"""Select clients with Flower's Multi-Krum, without all their tensors in memory."""

from collections.abc import Mapping, Sequence

import torch
from flwr.app import Array, ArrayRecord, MetricRecord, RecordDict
from flwr.serverapp import strategy as flower
from torch import Tensor

from blossomtune.federation.server.tensor_pieces import select_piece, split_into_pieces


def select_clients(
    states: Sequence[Mapping[str, Tensor]],
    num_malicious: int,
    num_selected: int,
    max_piece_elements: int,
) -> list[int]:
    """Select the clients with the smallest distances to their neighbours (arXiv 1703.02757).

    Flower stacks the tensors of all clients to compute distances. Here it gets vectors of as many
    numbers as there are clients, which have the same distances.

    Args:
        states: Tensors of each client.
        num_malicious: Number of clients that may be malicious.
        num_selected: Number of clients to select.
        max_piece_elements: Most elements per client in memory at once.

    Returns:
        Positions of the selected clients, the best first.
    """
    vectors = project_states(states, max_piece_elements)
    contents = [
        RecordDict(
            {
                "arrays": ArrayRecord({"vector": Array(vector.numpy())}),
                "metrics": MetricRecord({"position": position}),
            }
        )
        for position, vector in enumerate(vectors)
    ]
    select = flower.Bulyan().selection_rule  # by default Multi-Krum's
    selected = select(contents, num_malicious, num_selected)
    return [int(str(content.metric_records["metrics"]["position"])) for content in selected]


def project_states(states: Sequence[Mapping[str, Tensor]], max_piece_elements: int) -> Tensor:
    """Project the clients' tensors to few dimensions, with the same distances.

    The factor R of a QR decomposition has the distances of the decomposed columns. They are the
    differences from the first client, so that common large values do not cost precision.

    Args:
        states: Tensors of each of n clients.
        max_piece_elements: Most elements per client in memory at once.

    Returns:
        One row per client, (n, at most n), in float64.
    """
    r = torch.empty(0, len(states), dtype=torch.float64)
    for piece in split_into_pieces(states[0], max_piece_elements):
        rows = [torch.cat(list(select_piece(state, piece).values())) for state in states]
        columns = torch.stack(rows, dim=1).double()
        r = torch.linalg.qr(torch.cat([r, columns - columns[:, :1]]), mode="r").R
    return r.T.contiguous()
