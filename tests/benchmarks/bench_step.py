"""One optimizer step's forward and backward pass of the default, on one thread.

References: the same step through PEFT in float32, and the step's large matrix products alone.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import lru_cache
from typing import Any

import torch
from datasets import Dataset
from default_experiment import prepare_default
from measurement import Measurement
from torch.nn.functional import linear

from blossomtune.config.lora import LoraSettings
from blossomtune.modeling.load import load_model
from blossomtune.modeling.loss import collate, completion_nll
from blossomtune.training.adapter import build_peft_model, get_adapter_parameters
from blossomtune.training.fused_adapter import fuse_adapter
from blossomtune.training.fused_norm import fuse_norms

REPETITIONS = 8
BATCH_SIZE = 8


def step_float32() -> Measurement:
    """Measure a step with a float32 base; reference: PEFT's."""
    times = measure_steps()
    name = "a step, float32 / PEFT, float32"
    return Measurement(name, times["float32"], times["PEFT"], "s", target=0.8)


def step_bfloat16() -> Measurement:
    """Measure a step with a bfloat16 base; reference: PEFT's with a float32 base."""
    times = measure_steps()
    name = "a step, bfloat16 / PEFT, float32"
    return Measurement(name, times["bfloat16"], times["PEFT"], "s", target=0.5)


def step_float32_products() -> Measurement:
    """Measure a step with a float32 base; reference: its products with base weights alone."""
    times = measure_steps()
    name = "a step, float32 / its products with the base"
    return Measurement(name, times["float32"], times["float32 products"], "s", target=2.3)


def step_bfloat16_products() -> Measurement:
    """Measure a step with a bfloat16 base; reference: its products with base weights alone."""
    times = measure_steps()
    name = "a step, bfloat16 / its products with the base"
    return Measurement(name, times["bfloat16"], times["bfloat16 products"], "s", target=4.0)


@lru_cache
def measure_steps() -> dict[str, float]:
    """Return the least seconds of one thread's CPU time, all variants in turn."""
    config, inputs = prepare_default()
    rows = Dataset.from_file(str(inputs["preprocessed"] / "client_0.arrow"))
    batch = collate(rows.select(range(BATCH_SIZE)).to_list(), share_prefix=True)
    lora = LoraSettings.model_validate(config["lora"])
    variants: dict[str, Callable[[], None]] = {}
    for dtype in (torch.float32, torch.bfloat16):
        model = build_peft_model(load_model(inputs["model"], dtype=dtype), lora, 0).train()
        for name, parameter in get_adapter_parameters(model).items():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.02)
        name = str(dtype).removeprefix("torch.")
        if dtype == torch.float32:
            variants["PEFT"] = build_step(model, batch, is_fused=False)
        variants[name] = build_step(model, batch, is_fused=True)
        variants[f"{name} products"] = build_products(model, batch)
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    seconds: dict[str, float] = {}
    for _ in range(REPETITIONS):
        for name, run in variants.items():
            start = time.thread_time()
            run()
            seconds[name] = min(seconds.get(name, float("inf")), time.thread_time() - start)
    torch.set_num_threads(num_threads)
    return seconds


def build_step(model: Any, batch: dict[str, torch.Tensor], *, is_fused: bool) -> Callable[[], None]:
    """Return a function that computes the loss of a batch and its gradients."""

    def run() -> None:
        with ExitStack() as stack:
            if is_fused:
                stack.enter_context(fuse_adapter(model))
                stack.enter_context(fuse_norms(model))
            nll, tokens = completion_nll(model, batch)
            (nll.sum() / tokens.sum()).backward()
        model.zero_grad()

    return run


def build_products(model: Any, batch: dict[str, torch.Tensor]) -> Callable[[], None]:
    """Return a function that only multiplies by frozen weights, forward and backward."""
    products: list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = []

    def record(layer: Any, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        if not layer.weight.requires_grad:
            x = torch.randn_like(inputs[0].flatten(0, -2))
            products.append((x, layer.weight, torch.randn_like(output.flatten(0, -2))))

    layers = [module for module in model.modules() if type(module) is torch.nn.Linear]
    handles = [layer.register_forward_hook(record) for layer in layers]
    with torch.no_grad():
        completion_nll(model, batch)
    for handle in handles:
        handle.remove()

    @torch.no_grad()
    def run() -> None:
        for x, weight, gradient in products:
            linear(x, weight)
            gradient @ weight

    return run
