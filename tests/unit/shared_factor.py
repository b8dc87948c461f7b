"""Check of aggregations in which all clients share one factor."""

from random_updates import (
    LAYERS,
    assert_close,
    dense_mean_update,
    dense_update,
    share_tensor,
)

from blossomtune.aggregation.types import ClientUpdate
from blossomtune.config.lora import compute_scaling


def check_exact_mean(aggregate, client_round, shared_suffix):
    """Check that aggregating the factor that is not shared gives the mean update."""
    updates, server_state, lora = client_round
    s = compute_scaling(lora, lora.r)
    for layer in LAYERS:
        share_tensor(updates, layer + shared_suffix)
    shared = {n: t for n, t in updates[0].state.items() if n.endswith(shared_suffix)}
    sent = [
        ClientUpdate({n: t for n, t in u.state.items() if n not in shared}, u.scale, u.weight)
        for u in updates
    ]
    result = aggregate(sent, server_state, s)
    assert result.state.keys() == sent[0].state.keys()
    for layer in LAYERS:
        # The clients' products may cancel, so the tolerance is relative to them.
        size = max(dense_update(u.state, u.scale, layer).norm() for u in updates)
        mean = dense_update(shared | result.state, s, layer)
        assert_close(mean, dense_mean_update(updates, layer), absolute=1e-6 * size)
