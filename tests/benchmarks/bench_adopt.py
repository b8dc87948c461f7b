"""An optimizer step of ADOPT; reference: PyTorch's AdamW, both with foreach operations."""

import time
from functools import partial

from measurement import Measurement

# SmolLM2-135M has 30 layers with these inputs and outputs of the seven projections.
PROJECTIONS = [
    (576, 576),
    (576, 192),
    (576, 192),
    (576, 576),
    (576, 1536),
    (576, 1536),
    (1536, 576),
]
LORA = [(shape, 30) for k, d in PROJECTIONS for shape in ((8, k), (d, 8))]
LARGE = [((4096, 4096), 4)]
REPEATS = 9


def adopt_small() -> Measurement:
    """Measure a step on the 420 tensors of SmolLM2-135M's adapter of rank 8."""
    return _measure("a step of ADOPT / AdamW (foreach), 420 small tensors", LORA, steps=30)


def adopt_large() -> Measurement:
    """Measure a step on four tensors of 4096 × 4096."""
    return _measure("a step of ADOPT / AdamW (foreach), 4 large tensors", LARGE, steps=2)


def _measure(name: str, shapes: list, steps: int) -> Measurement:
    import torch

    from blossomtune.training.adopt import Adopt

    torch.set_num_threads(1)  # as in a client
    adopt = _build_timer(Adopt, shapes, steps)
    adamw = _build_timer(partial(torch.optim.AdamW, foreach=True, weight_decay=0.0), shapes, steps)
    pairs = [(adopt(), adamw()) for _ in range(REPEATS)]  # alternate, so that noise affects both
    ours, reference = (1000 * min(seconds) for seconds in zip(*pairs, strict=True))
    return Measurement(name, ours, reference, "ms", target=1.3)


def _build_timer(build_optimizer, shapes: list, steps: int):
    """Return a function that takes some steps and returns the seconds per step."""
    import torch

    generator = torch.Generator().manual_seed(0)
    parameters = [
        torch.nn.Parameter(torch.randn(shape, generator=generator))
        for shape, count in shapes
        for _ in range(count)
    ]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer = build_optimizer(parameters, lr=1e-3)
    optimizer.step()  # creates the state

    def time_steps() -> float:
        start = time.perf_counter()
        for _ in range(steps):
            optimizer.step()
        return (time.perf_counter() - start) / steps

    return time_steps
