import pytest
import torch

from blossomtune.federation.messages.update_norm import compute_distance, require_norm


def test_distance_is_the_norm_over_all_tensors():
    first = {"a": torch.tensor([[3.0]]), "b": torch.tensor([4.0, 1.0])}
    second = {"a": torch.tensor([[0.0]]), "b": torch.tensor([0.0, 1.0])}
    assert compute_distance(first, second) == 5.0
    assert compute_distance(first, first) == 0.0


def test_distance_of_huge_values_is_finite():
    huge = {"a": torch.full((1000,), 3e38)}
    assert compute_distance(huge, {"a": -huge["a"]}) == pytest.approx(6e38 * 1000**0.5, rel=1e-6)


def test_norm_beyond_its_limit_is_an_error():
    require_norm("its update", 2.0, 2.0)
    with pytest.raises(ValueError, match=r"its update has a norm of 2\.5, .* allows 2"):
        require_norm("its update", 2.5, 2.0)
