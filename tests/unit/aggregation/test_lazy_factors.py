import torch

from blossomtune.aggregation.lazy_factors import LazyFactors

A, B = ".lora_A.weight", ".lora_B.weight"


def test_factors_of_one_layer_are_computed_on_access():
    computed = []

    def compute(layer):
        computed.append(layer)
        return torch.ones(4, 2).double(), torch.ones(2, 3).double()

    state = {layer + s: torch.zeros(1, 1) for layer in ("one", "two") for s in (A, B)}
    factors = LazyFactors(state, compute)
    assert (list(factors), len(factors), computed) == (["one", "two"], 2, [])
    b, a = factors["two"]
    assert computed == ["two"]
    assert (b.shape, a.shape, b.dtype) == ((4, 2), (2, 3), torch.float32)
