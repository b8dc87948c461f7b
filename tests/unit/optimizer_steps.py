"""Random parameters and gradients for tests of optimizers."""

import torch


def random_gradients(seed, num_steps, shapes=((3, 4), (5,)), dtype=torch.float64):
    """Return start values, and one list of gradients per step."""
    generator = torch.Generator().manual_seed(seed)

    def draw():
        values = [torch.randn(s, generator=generator, dtype=torch.float64) for s in shapes]
        return [value.to(dtype) for value in values]

    return draw(), [draw() for _ in range(num_steps)]


def as_parameters(values):
    """Return trainable copies of tensors."""
    return [torch.nn.Parameter(value.clone()) for value in values]


def run_steps(optimizer, parameters, gradients):
    """Set each step's gradients, some of which may be None, and run the optimizer."""
    for step_gradients in gradients:
        for parameter, gradient in zip(parameters, step_gradients, strict=True):
            parameter.grad = None if gradient is None else gradient.clone()
        optimizer.step()
