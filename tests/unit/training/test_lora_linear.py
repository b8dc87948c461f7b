import pytest
import torch

from blossomtune.training.lora_linear import LoraLinearWeights, apply_lora_linear


def build_layers(dtype=torch.float32, *, bias=True):
    """Return two layers of different width, rank and scaling."""
    torch.manual_seed(0)
    layers = []
    for width, rank, scaling in ((5, 2, 0.5), (7, 3, 2.0)):
        weight, offset = torch.randn(width, 6, dtype=dtype), torch.randn(width, dtype=dtype)
        factors = torch.randn(rank, 6), torch.randn(width, rank)
        a, b = (factor.requires_grad_() for factor in factors)
        layers.append(LoraLinearWeights(weight, offset if bias else None, a, b, scaling))
    return layers


def compute_reference(x, layers):
    """Return the same outputs in the order of PEFT's operations, in float32."""
    outputs = []
    for layer in layers:
        bias = None if layer.bias is None else layer.bias.float()
        base = torch.nn.functional.linear(x.float(), layer.weight.float(), bias)
        update = x.float() @ layer.factor_a.T @ layer.factor_b.T
        outputs.append(base + layer.scaling * update)
    return outputs


def differentiate(outputs, layers, x):
    """Return the gradients of a loss, in which the outputs differ, by the input and all factors."""
    torch.manual_seed(1)
    loss = sum((output.float() * torch.randn(output.shape)).sum() for output in outputs)
    factors = [factor for layer in layers for factor in (layer.factor_a, layer.factor_b)]
    return torch.autograd.grad(loss, [x, *(f for f in factors if f.requires_grad)])


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("bias", [True, False])
def test_outputs_and_gradients_equal_those_of_separate_operations(dtype, tolerance, bias):
    layers = build_layers(dtype, bias=bias)
    x = torch.randn(2, 3, 6).to(dtype).requires_grad_()
    outputs, expected = apply_lora_linear(x, layers), compute_reference(x, layers)
    actual_gradients = differentiate(outputs, layers, x)
    expected_gradients = differentiate(expected, layers, x)
    assert [output.dtype for output in outputs] == [dtype, dtype]
    assert all(gradient.dtype == torch.float32 for gradient in actual_gradients[1:])
    pairs = zip([*outputs, *actual_gradients], [*expected, *expected_gradients], strict=True)
    for value, reference in pairs:
        assert (value.float() - reference).norm() <= tolerance * reference.norm()


@pytest.mark.parametrize("frozen", ["factor_a", "factor_b"])
def test_frozen_factor_gets_no_gradient_and_the_other_one_the_same(frozen):
    layers, x = build_layers(), torch.randn(4, 6)
    full = differentiate(apply_lora_linear(x.requires_grad_(), layers), layers, x)
    for layer in layers:
        getattr(layer, frozen).requires_grad_(False)
    rest = differentiate(apply_lora_linear(x, layers), layers, x)
    kept = full[:1] + (full[2::2] if frozen == "factor_a" else full[1::2])
    assert all(torch.equal(a, b) for a, b in zip(rest, kept, strict=True))


def test_unused_output_gets_a_zero_gradient():
    layers, x = build_layers(), torch.randn(4, 6)
    first, _ = apply_lora_linear(x, layers)
    first.sum().backward()
    assert layers[0].factor_b.grad.any() and not layers[1].factor_b.grad.any()


def test_outputs_may_be_changed_in_place():
    layers, x = build_layers(), torch.randn(4, 6, requires_grad=True)
    first, second = apply_lora_linear(x, layers)
    doubled = differentiate((first.mul_(2), second.mul_(2)), layers, x)
    plain = differentiate(apply_lora_linear(x, layers), layers, x)
    for value, reference in zip(doubled, plain, strict=True):
        assert torch.allclose(value, 2 * reference)


def test_any_shape_and_layout_of_the_input_is_accepted():
    layers, rows = build_layers(), torch.randn(6, 4)
    for x in (rows.T, rows[:, 0], rows.T[None].expand(2, 4, 6), torch.randn(0, 6)):
        outputs = apply_lora_linear(x, layers)
        for output, expected in zip(outputs, compute_reference(x, layers), strict=True):
            assert torch.allclose(output, expected, atol=1e-5)
