import pytest
import torch
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm

from blossomtune.training.fused_norm import fuse_norms, is_rms_norm


def build_norm(kind=LlamaRMSNorm, dtype=torch.float32):
    torch.manual_seed(0)
    norm = kind(16, eps=0.1)
    norm.weight.data = torch.randn(16)
    return norm.requires_grad_(False).to(dtype)


def differentiate(norm, x):
    """Return the output and the gradient of a loss."""
    x = x.clone().requires_grad_()
    output = norm(x)
    torch.manual_seed(1)
    (output.float() * torch.randn(output.shape)).sum().backward()
    return output.detach(), x.grad


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 1e-2)])
def test_output_and_gradient_equal_those_of_the_module(dtype, tolerance):
    norm, x = build_norm(dtype=dtype), torch.randn(2, 3, 16).to(dtype)
    expected = differentiate(norm, x)
    with fuse_norms(norm):
        assert "forward" in vars(norm)
        actual = differentiate(norm, x)
        with torch.autocast("cpu"):
            assert torch.equal(differentiate(norm, x)[0], expected[0])
    for value, reference in zip(actual, expected, strict=True):
        assert value.dtype == dtype
        assert (value - reference).float().norm() <= tolerance * reference.float().norm()
    assert "forward" not in vars(norm)


def test_only_frozen_modules_that_compute_the_same_are_replaced():
    assert is_rms_norm(build_norm())
    assert not is_rms_norm(build_norm().requires_grad_(True))
    assert not is_rms_norm(build_norm(Gemma3RMSNorm))  # multiplies by 1 + w
    assert not is_rms_norm(build_norm(dtype=torch.float16))
    assert not is_rms_norm(torch.nn.LayerNorm(16).requires_grad_(False))
