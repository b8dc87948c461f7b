"""Bytes of tensors are counted, and none is allocated."""

import gc

import torch

from blossomtune.planning.allocations import count_allocations

MB = 2**20


def test_huge_tensors_are_counted_and_freed():
    with count_allocations() as counter:
        a = torch.empty(2**20, 2**20)  # 4 TiB
        b = a * 2
        assert counter.live == 2 * 4 * 2**40
        assert b.view(-1).shape == (2**40,)  # the same storage
        del a, b
        gc.collect()
        assert counter.live == 0
        assert counter.peak == 2 * 4 * 2**40


def test_masks_of_real_integers_give_exact_sizes():
    with count_allocations() as counter:
        labels = torch.tensor([[1, -100, 2, 3]])
        values = torch.empty(1, 4, MB)
        before = counter.live
        kept = values[labels != -100]
        assert kept.shape == (3, MB)
        assert counter.live - before == 3 * 4 * MB
        assert int((labels > 0).sum()) == 3


def test_backward_pass_needs_the_saved_activations():
    with count_allocations() as counter:
        weight = torch.empty(512, 512, requires_grad=True)
        x = torch.empty(1024, 512)
        built = counter.live
        (x @ weight).relu().sum().backward()
        # product, its relu, the gradients of both, and that of the weight
        assert counter.peak - built >= 2 * 1024 * 512 * 4
        assert counter.peak - built <= 4 * 1024 * 512 * 4 + 2 * 512 * 512 * 4
        assert weight.grad.shape == weight.shape
