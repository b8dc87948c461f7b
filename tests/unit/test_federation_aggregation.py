import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.aggregation.low_rank import stack_base_deltas, truncate_rank
from blossomtune.aggregation.registry import AGGREGATIONS
from blossomtune.aggregation.types import ClientUpdate
from blossomtune.config.lora import LoraSettings, compute_scaling

LAYERS = {"x.layers.0.q_proj": (9, 7), "x.layers.1.down_proj": (5, 12)}  # (d, k)
A, B = ".lora_A.weight", ".lora_B.weight"
PRECISIONS = {torch.float16: 2e-3, torch.bfloat16: 2e-2}
EXAMPLES = settings(max_examples=60)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads of a linear algebra library wait for one another on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def adapter(rank, generator, dtype=torch.float32):
    shapes = {}
    for layer, (d, k) in LAYERS.items():
        shapes |= {layer + A: (rank, k), layer + B: (d, rank)}
    return {n: torch.randn(*shape, generator=generator).to(dtype) for n, shape in shapes.items()}


@st.composite
def rounds(draw, mixed=True, dtype=torch.float32):
    """What clients answered in a round, the server's adapter, and how ranks are scaled."""
    lora = LoraSettings(
        r=draw(st.integers(1, 8)), alpha=draw(st.integers(1, 64)), rslora=draw(st.booleans())
    )
    rank = st.integers(1, lora.r) if mixed else st.just(lora.r)
    ranks = draw(st.lists(rank, min_size=1, max_size=5))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**32 - 1)))
    weights = [draw(st.integers(1, 1000)) for _ in ranks]
    updates = [
        ClientUpdate(adapter(r, generator, dtype), compute_scaling(lora, r), weight)
        for r, weight in zip(ranks, weights, strict=True)
    ]
    return updates, adapter(lora.r, generator, dtype), lora


def share(updates, which, name):
    """One tensor of the round for all clients: a factor is the first client's."""
    for u in updates:
        u.state[name] = updates[which].state[name].clone()


def dense(state, factor, layer):
    return factor * state[layer + B].double() @ state[layer + A].double()


def wanted(updates, layer):
    """ΔW* from its definition."""
    total = sum(u.weight for u in updates)
    return sum(u.weight / total * dense(u.state, u.scale, layer) for u in updates)


def product(factors):
    return factors[0].double() @ factors[1].double()


def best(matrix, rank):
    """The truncated SVD."""
    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    return u[:, :rank] * s[:rank] @ vt[:rank]


def same(found, expected, relative=1e-5, floor=0.0):
    assert (found - expected).norm() <= relative * expected.norm() + floor


def as_good_as_best(found, matrix, rank, relative=1e-5):
    """Equal to the truncated SVD; where it is not unique, as near to the matrix and of the rank."""
    values = torch.linalg.svdvals(matrix)
    following = values[rank] if rank < len(values) else 0.0
    if values[min(rank, len(values)) - 1] - following > 1e-2 * values[0]:
        same(found, best(matrix, rank), relative)
    least = values[rank:].norm()
    assert (found - matrix).norm() <= least + relative * matrix.norm()
    assert torch.linalg.svdvals(found)[rank:].norm() <= relative * matrix.norm()


@EXAMPLES
@given(rounds())
def test_flexlora_is_the_truncated_svd_for_the_server_and_every_client(round_):
    updates, start, lora = round_
    s = compute_scaling(lora, lora.r)
    found = AGGREGATIONS["flexlora"](updates, start, s)
    assert not found.base_deltas
    for layer in LAYERS:
        matrix = wanted(updates, layer)
        as_good_as_best(dense(found.state, s, layer), matrix, lora.r)
        for rank in range(1, lora.r + 1):
            of_client = compute_scaling(lora, rank)
            given_ = truncate_rank(found.state, rank, s, of_client)
            assert given_[layer + A].shape[0] == given_[layer + B].shape[1] == rank
            as_good_as_best(dense(given_, of_client, layer), matrix, rank)


@EXAMPLES
@given(rounds())
def test_flexlora_is_exact_where_the_server_has_room(round_):
    updates, _, lora = round_
    rank = sum(u.state[next(iter(LAYERS)) + A].shape[0] for u in updates)
    start = adapter(rank, torch.Generator().manual_seed(0))
    s = compute_scaling(lora, rank)
    found = AGGREGATIONS["flexlora"](updates, start, s)
    for layer in LAYERS:
        assert found.state[layer + A].shape == start[layer + A].shape
        same(dense(found.state, s, layer), wanted(updates, layer))


def test_components_that_flexlora_has_no_use_for_can_still_learn():
    generator = torch.Generator().manual_seed(0)
    start = adapter(4, generator)
    nothing = {n: t if n.endswith(A) else torch.zeros_like(t) for n, t in start.items()}
    found = AGGREGATIONS["flexlora"]([ClientUpdate(nothing, 2.0, 1)], start, 2.0).state
    for layer in LAYERS:
        assert torch.equal(found[layer + A], start[layer + A])
        assert not found[layer + B].any()


def test_signs_are_those_of_the_numbers_not_of_the_library():
    generator = torch.Generator().manual_seed(0)
    updates, start = [ClientUpdate(adapter(3, generator), 2.0, 1)], adapter(3, generator)
    turned = {n: -t for n, t in updates[0].state.items()}  # the same product
    for u in (*updates, ClientUpdate(turned, 2.0, 1)):
        for name, value in AGGREGATIONS["flexlora"]([u], start, 2.0).state.items():
            if name.endswith(A):
                assert (value.gather(1, value.abs().argmax(1, keepdim=True)) > 0).all()


@EXAMPLES
@given(rounds())
def test_flora_is_exact_and_starts_again(round_):
    updates, start, lora = round_
    found = AGGREGATIONS["flora"](updates, start, compute_scaling(lora, lora.r))
    assert all(torch.equal(found.state[n], start[n]) for n in start)
    for layer in LAYERS:
        same(product(found.base_deltas[layer]), wanted(updates, layer))


@EXAMPLES
@given(rounds(mixed=False))
def test_fedex_is_the_average_and_what_it_lacks(round_):
    updates, start, lora = round_
    s = compute_scaling(lora, lora.r)
    found = AGGREGATIONS["fedex"](updates, start, s)
    plain = AGGREGATIONS["fedavg"](updates, start, s)
    assert all(torch.equal(found.state[n], plain.state[n]) for n in start)
    for layer in LAYERS:
        whole = dense(found.state, s, layer) + product(found.base_deltas[layer])
        same(whole, wanted(updates, layer), floor=1e-6)


@EXAMPLES
@given(rounds(mixed=False), st.sampled_from([("ffa", A), ("rolora", A), ("rolora", B)]))
def test_averages_are_exact_where_a_factor_is_shared(round_, kind):
    (updates, start, lora), (name, shared) = round_, kind
    s = compute_scaling(lora, lora.r)
    for layer in LAYERS:
        share(updates, 0, layer + shared)
    fixed = {n: t for n, t in updates[0].state.items() if n.endswith(shared)}
    sent = [
        ClientUpdate({n: t for n, t in u.state.items() if n not in fixed}, u.scale, u.weight)
        for u in updates
    ]
    found = AGGREGATIONS[name](sent, start, s)
    assert found.state.keys() == sent[0].state.keys()
    for layer in LAYERS:
        # Relative to what is averaged: the clients' products may cancel.
        size = max(dense(u.state, u.scale, layer).norm() for u in updates)
        whole = dense(fixed | found.state, s, layer)
        same(whole, wanted(updates, layer), floor=1e-6 * size)


@EXAMPLES
@given(rounds(mixed=False))
def test_fedavg_averages_every_tensor(round_):
    updates, start, lora = round_
    magnitude = "x.layers.0.q_proj.lora_magnitude_vector"
    for i, u in enumerate(updates):
        u.state[magnitude] = torch.arange(9.0) + i
    start[magnitude] = torch.zeros(9)
    found = AGGREGATIONS["fedavg"](updates, start, compute_scaling(lora, lora.r))
    assert not found.base_deltas
    total = sum(u.weight for u in updates)
    assert found.state.keys() == updates[0].state.keys()
    for name, value in found.state.items():
        average = sum(u.weight / total * u.state[name].double() for u in updates)
        assert torch.allclose(value.double(), average, rtol=1e-6, atol=1e-6)


def hetlora(updates, r, s, layer):
    """The paper's Section 4 with dense norms: (B, A) of the server."""
    products = [dense(u.state, u.scale, layer) for u in updates]
    norms = [float(torch.linalg.matrix_norm(p, "fro")) for p in products]
    d, k = products[0].shape
    b, a = torch.zeros(d, r, dtype=torch.float64), torch.zeros(r, k, dtype=torch.float64)
    for u, norm in zip(updates, norms, strict=True):
        rank = u.state[layer + A].shape[0]
        b[:, :rank] += norm / sum(norms) * (u.scale / s) * u.state[layer + B].double()
        a[:rank] += norm / sum(norms) * u.state[layer + A].double()
    return b, a


@EXAMPLES
@given(rounds())
def test_hetlora_is_the_papers(round_):
    updates, start, lora = round_
    s = compute_scaling(lora, lora.r)
    found = AGGREGATIONS["hetlora"](updates, start, s).state
    largest = max(u.state[next(iter(LAYERS)) + A].shape[0] for u in updates)
    for layer in LAYERS:
        b, a = hetlora(updates, lora.r, s, layer)
        same(found[layer + B].double(), b, floor=1e-6)
        same(found[layer + A][:largest].double(), a[:largest], floor=1e-6)
        assert torch.equal(found[layer + A][largest:], start[layer + A][largest:])
        same(dense(found, s, layer), s * b @ a, floor=1e-5 * s * float(b.norm() * a.norm()))


def test_hetlora_without_norms_goes_by_the_weights():
    generator = torch.Generator().manual_seed(0)
    states = [adapter(2, generator) for _ in range(2)]
    for state in states:
        state |= {n: torch.zeros_like(t) for n, t in state.items() if n.endswith(B)}
    found = AGGREGATIONS["hetlora"](
        [ClientUpdate(states[0], 1.0, 1), ClientUpdate(states[1], 1.0, 3)], states[0], 1.0
    ).state
    for layer in LAYERS:
        average = 0.25 * states[0][layer + A] + 0.75 * states[1][layer + A]
        assert torch.allclose(found[layer + A], average)


@pytest.mark.parametrize("name", AGGREGATIONS)
@settings(max_examples=15)
@given(data=st.data())
def test_the_order_of_clients_changes_nothing(name, data):
    updates, start, lora = data.draw(rounds(mixed=name in ("flexlora", "flora", "hetlora")))
    s = compute_scaling(lora, lora.r)
    order = data.draw(st.permutations(updates))
    one, other = (AGGREGATIONS[name](some, start, s) for some in (updates, order))
    for layer in LAYERS:
        size = max(dense(u.state, u.scale, layer).norm() for u in updates)
        matrix = wanted(updates, layer)
        values = torch.linalg.svdvals(matrix)
        unique = lora.r >= len(values) or values[lora.r - 1] - values[lora.r] > 1e-2 * values[0]
        if name != "flexlora" or unique:
            difference = dense(one.state, s, layer) - dense(other.state, s, layer)
            assert difference.norm() <= 1e-5 * size
        if one.base_deltas:
            difference = product(one.base_deltas[layer]) - product(other.base_deltas[layer])
            assert difference.norm() <= 1e-5 * size


@pytest.mark.parametrize("name", AGGREGATIONS)
@settings(max_examples=15)
@given(round_=rounds(mixed=False), clients=st.integers(1, 4))
def test_equal_clients_come_back_unchanged(name, round_, clients):
    updates, start, lora = round_
    s = compute_scaling(lora, lora.r)
    state = updates[0].state
    equal = [ClientUpdate(state, s, 1 + i) for i in range(clients)]
    found = AGGREGATIONS[name](equal, start, s)
    if name not in ("flexlora", "flora"):
        assert all(torch.equal(found.state[n], state[n]) for n in state)
    for layer in LAYERS:
        whole = dense(found.state, s, layer) if name != "flora" else 0
        whole = whole + product(found.base_deltas[layer]) if found.base_deltas else whole
        same(whole, dense(state, s, layer))


@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("name", AGGREGATIONS)
def test_half_precision_in_and_out_and_better_between(name, dtype):
    generator = torch.Generator().manual_seed(1)
    # 300 clients: summed in half precision, the last would be lost.
    updates = [ClientUpdate(adapter(3, generator, dtype), 2.0, 1) for _ in range(300)]
    for layer in LAYERS:
        share(updates, 0, layer + A)
    start = adapter(3, generator, dtype)
    found = AGGREGATIONS[name](updates, start, 2.0)
    tensors = [*found.state.values(), *(t for pair in found.base_deltas.values() for t in pair)]
    assert {t.dtype for t in tensors} == {dtype}
    if name == "hetlora":
        return
    for layer in LAYERS:
        whole = dense(found.state, 2.0, layer) if name != "flora" else 0
        whole = whole + product(found.base_deltas[layer]) if found.base_deltas else whole
        size = wanted(updates, layer).norm() if name != "flora" else 2.0
        assert (whole - wanted(updates, layer)).norm() <= PRECISIONS[dtype] * size


@EXAMPLES
@given(rounds())
def test_cut_takes_leading_components_of_whatever_is_there(round_):
    _, start, lora = round_
    s, rank = compute_scaling(lora, lora.r), max(1, lora.r // 2)
    smaller = compute_scaling(lora, rank)
    start["x.layers.0.q_proj.lora_magnitude_vector"] = torch.ones(9)
    whole = truncate_rank(start, rank, s, smaller)
    assert torch.equal(whole["x.layers.0.q_proj.lora_magnitude_vector"], torch.ones(9))
    for layer in LAYERS:
        b, a = start[layer + B].double(), start[layer + A].double()
        same(dense(whole, smaller, layer), s * b[:, :rank] @ a[:rank])
        for end in (A, B):
            alone = truncate_rank({layer + end: start[layer + end]}, rank, s, smaller)
            assert alone.keys() == {layer + end}
            assert torch.equal(alone[layer + end], whole[layer + end])
    unchanged = truncate_rank(start, lora.r, s, s)
    assert all(torch.equal(unchanged[n], start[n]) for n in start)
    assert all(t.is_contiguous() for t in whole.values())


@EXAMPLES
@given(st.lists(rounds(), min_size=0, max_size=4), rounds())
def test_stack_holds_everything_in_no_more_components_than_there_can_be(before, last):
    folded = [
        AGGREGATIONS["flora"](updates, start, 1.0).base_deltas for updates, start, _ in before
    ]
    _, state, lora = last
    s = compute_scaling(lora, lora.r)
    found = stack_base_deltas(state, s, folded)
    for layer, (d, k) in LAYERS.items():
        expected = dense(state, s, layer) + sum(wanted(updates, layer) for updates, _, _ in before)
        size = math.sqrt(sum(product(f[layer]).norm() ** 2 for f in folded)) + expected.norm()
        b, a = found[layer]
        assert b.shape[1] == a.shape[0] <= max(min(d, k), lora.r)
        same(product((b, a)), expected, floor=1e-5 * float(size))
