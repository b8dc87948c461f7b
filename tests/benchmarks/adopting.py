"""A step of ADOPT beside one of torch's AdamW, both by torch's operations on lists of tensors."""

import time
from functools import partial

LORA = [
    (shape, 30)  # SmolLM2-135M: 30 layers; what goes in and out of the seven projections
    for k, d in (
        (576, 576),
        (576, 192),
        (576, 192),
        (576, 576),
        (576, 1536),
        (576, 1536),
        (1536, 576),
    )
    for shape in ((8, k), (d, 8))
]
BIG = [((4096, 4096), 4)]


def adopt_lora() -> dict:
    """For the 420 tensors of SmolLM2-135M's adapter of rank 8."""
    return _row("a step of ADOPT / AdamW (foreach), 420 small tensors", LORA, steps=30)


def adopt_big() -> dict:
    """For four tensors of 4096 × 4096."""
    return _row("a step of ADOPT / AdamW (foreach), 4 big tensors", BIG, steps=2)


def _row(name: str, shapes: list, steps: int) -> dict:
    import torch

    from blossomtune.training.adopt import Adopt

    torch.set_num_threads(1)  # as a client has it
    ours = _stepper(Adopt, shapes, steps)
    other = _stepper(partial(torch.optim.AdamW, foreach=True, weight_decay=0.0), shapes, steps)
    pairs = [(ours(), other()) for _ in range(9)]  # side by side, so that both meet the same noise
    mine, theirs = (1000 * min(times) for times in zip(*pairs, strict=True))
    figures = {"ours": round(mine, 2), "other": round(theirs, 2), "unit": "ms"}
    return {"name": name, **figures, "ratio": round(mine / theirs, 3), "bound": 1.3}


def _stepper(make, shapes: list, steps: int):
    """A function that takes some steps and says how many seconds one took."""
    import torch

    generator = torch.Generator().manual_seed(0)
    parameters = [
        torch.nn.Parameter(torch.randn(shape, generator=generator))
        for shape, count in shapes
        for _ in range(count)
    ]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    optimizer = make(parameters, lr=1e-3)
    optimizer.step()  # makes the state

    def run() -> float:
        start = time.perf_counter()
        for _ in range(steps):
            optimizer.step()
        return (time.perf_counter() - start) / steps

    return run
