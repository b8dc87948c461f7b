"""Tests of tensors by name."""

import torch

from blossomtune.named_tensors import add_prefix, clone_contiguous, strip_prefix


def test_prefix_is_added_and_stripped():
    state = {"a": torch.ones(2), "b/c": torch.zeros(1)}
    prefixed = add_prefix("adapter", state)
    assert list(prefixed) == ["adapter/a", "adapter/b/c"]
    assert strip_prefix("adapter", prefixed | {"adapters/d": torch.ones(1)}) == state


def test_clones_are_contiguous_and_independent():
    original = torch.arange(6.0).reshape(2, 3)
    [clone] = clone_contiguous({"a": original.T}).values()
    assert clone.is_contiguous()
    original[0, 0] = 9
    assert clone[0, 0] == 0
