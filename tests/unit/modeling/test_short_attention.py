import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from blossomtune.modeling.encoding import IGNORE_INDEX
from blossomtune.modeling.load import load_model
from blossomtune.modeling.loss import collate, completion_nll
from blossomtune.modeling.prefix_sharing import build_attention_mask
from blossomtune.modeling.short_attention import SHORT_WIDTH, attend_short, is_faster

FLOAT_MASK = build_attention_mask(torch.tensor([[0, 0, 1, 1, 1, 2, 2], [1, 1, 1, 1, 2, 2, 3]]))


def build_states(dtype):
    """Return query, key and value of 2 rows of 7 tokens, with 4 and 2 heads."""
    torch.manual_seed(0)
    shapes = [(2, 7, 4, 8), (2, 7, 2, 8), (2, 7, 2, 6)]
    states = [torch.randn(shape).to(dtype).transpose(1, 2) for shape in shapes]
    return [state.requires_grad_() for state in states]


def differentiate(output, states):
    torch.manual_seed(1)
    return torch.autograd.grad((output.float() * torch.randn(output.shape)).sum(), states)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("mask", [FLOAT_MASK, FLOAT_MASK == 0], ids=["float", "bool"])
def test_output_and_gradients_equal_those_of_torch(dtype, tolerance, mask):
    states = build_states(dtype)
    output = attend_short(*states, mask, 0.3)
    exact = [state.detach().float().requires_grad_() for state in states]
    expected = scaled_dot_product_attention(*exact, attn_mask=mask, scale=0.3, enable_gqa=True)
    expected = expected.transpose(1, 2)
    actual_values = [output, *differentiate(output, states)]
    for actual, reference in zip(
        actual_values, [expected, *differentiate(expected, exact)], strict=True
    ):
        assert actual.dtype == dtype and actual.shape == reference.shape
        assert (actual.float() - reference).norm() <= tolerance * reference.norm()


def test_row_without_visible_keys_is_finite():
    states = build_states(torch.bfloat16)
    for mask in (torch.zeros(1, 1, 7, 7, dtype=torch.bool), torch.full((1, 1, 7, 7), -torch.inf)):
        output = attend_short(*states, mask, 1.0)
        assert all(value.isfinite().all() for value in (output, *differentiate(output, states)))


def test_used_only_for_short_rows_that_are_trained_in_bfloat16():
    query, key, _ = build_states(torch.bfloat16)
    assert is_faster(query, key, FLOAT_MASK)
    assert not is_faster(query, key, FLOAT_MASK, dropout=0.1)
    assert not is_faster(query.float(), key.float(), FLOAT_MASK)
    assert not is_faster(query[:, :, :1], key, FLOAT_MASK[:, :, :1])
    long = torch.zeros(1, 1, SHORT_WIDTH + 1, 8, dtype=torch.bfloat16, requires_grad=True)
    long_mask = torch.zeros(1, 1, SHORT_WIDTH + 1, SHORT_WIDTH + 1)
    assert not is_faster(long, long, long_mask)
    with torch.no_grad():
        assert not is_faster(query, key, FLOAT_MASK)
    with torch.autocast("cpu"):
        assert not is_faster(query, key, FLOAT_MASK)


def test_bfloat16_model_uses_it_for_rows_with_a_shared_prefix(tiny_model, monkeypatch):
    masks = []

    def record(*arguments):
        masks.append(arguments[3])
        return attend_short(*arguments)

    monkeypatch.setattr("blossomtune.modeling.attention.attend_short", record)
    rows = [{"input_ids": [1, 5, 6, i, 9], "labels": [IGNORE_INDEX] * 4 + [9]} for i in (7, 8)]
    losses = []
    for dtype in (torch.bfloat16, torch.float32):
        model = load_model(tiny_model, dtype=dtype)
        losses.append(completion_nll(model, collate(rows, share_prefix=True))[0].detach())
    assert [mask.shape for mask in masks] == [(1, 1, 7, 7)] * model.config.num_hidden_layers
    assert torch.allclose(*losses, rtol=0.05)
