"""Random client updates of two layers, and dense matrices to compare aggregations with."""

import torch
from hypothesis import settings
from hypothesis import strategies as st

from blossomtune.aggregation.types import ClientUpdate
from blossomtune.config.lora import LoraSettings, compute_scaling

LAYERS = {"x.layers.0.q_proj": (9, 7), "x.layers.1.down_proj": (5, 12)}  # (d, k)
A, B = ".lora_A.weight", ".lora_B.weight"
MAGNITUDE = "x.layers.0.q_proj.lora_magnitude_vector"
EXAMPLES = settings(max_examples=60)


def random_adapter(rank, generator, dtype=torch.float32):
    """Return an adapter of both layers."""
    shapes = {}
    for layer, (d, k) in LAYERS.items():
        shapes |= {layer + A: (rank, k), layer + B: (d, rank)}
    return {n: torch.randn(*shape, generator=generator).to(dtype) for n, shape in shapes.items()}


@st.composite
def client_rounds(draw, mixed_ranks=True):
    """Draw client updates, the server's adapter, and the LoRA settings that scale them."""
    lora = LoraSettings(
        r=draw(st.integers(1, 8)), alpha=draw(st.integers(1, 64)), rslora=draw(st.booleans())
    )
    rank = st.integers(1, lora.r) if mixed_ranks else st.just(lora.r)
    ranks = draw(st.lists(rank, min_size=1, max_size=5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    weights = [draw(st.integers(1, 1000)) for _ in ranks]
    updates = [
        ClientUpdate(random_adapter(r, generator), compute_scaling(lora, r), weight)
        for r, weight in zip(ranks, weights, strict=True)
    ]
    return updates, random_adapter(lora.r, generator), lora


def share_tensor(updates, name):
    """Replace one tensor of all clients by the first client's."""
    for u in updates:
        u.state[name] = updates[0].state[name].clone()


def dense_update(state, scale, layer):
    """Return s B A in float64."""
    return scale * state[layer + B].double() @ state[layer + A].double()


def dense_mean_update(updates, layer):
    """Return ΔW* by its definition."""
    total = sum(u.weight for u in updates)
    return sum(u.weight / total * dense_update(u.state, u.scale, layer) for u in updates)


def dense_product(factors):
    """Return B A in float64."""
    return factors[0].double() @ factors[1].double()


def dense_truncated_svd(matrix, rank):
    """Return the best approximation of a rank."""
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    return u[:, :rank] * s[:rank] @ vt[:rank]


def assert_close(actual, expected, relative=1e-5, absolute=0.0):
    """Compare two matrices by the Frobenius norm of their difference."""
    assert (actual - expected).norm() <= relative * expected.norm() + absolute


def assert_best_approximation(actual, matrix, rank, relative=1e-5):
    """Compare with the truncated SVD; where it is not unique, compare rank and distance."""
    values = torch.linalg.svdvals(matrix)
    next_value = values[rank] if rank < len(values) else 0.0
    if values[min(rank, len(values)) - 1] - next_value > 1e-2 * values[0]:
        assert_close(actual, dense_truncated_svd(matrix, rank), relative)
    smallest_distance = values[rank:].norm()
    assert (actual - matrix).norm() <= smallest_distance + relative * matrix.norm()
    assert torch.linalg.svdvals(actual)[rank:].norm() <= relative * matrix.norm()
