"""Try a model with a new adapter on a few tokens, before its first round."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from blossomtune.config.lora import LoraSettings
from blossomtune.errors import UserError
from blossomtune.modeling.encoding import IGNORE_INDEX
from blossomtune.modeling.loss import collate, completion_nll
from blossomtune.training.adapter import get_adapter_parameters
from blossomtune.training.target_modules import require_mergeable

_TOLERANCE = 1e-3
"""Largest relative difference of a loss in float32. Sums in another order change 1e-5 of it."""


def check_model(model: Any, lora: LoraSettings, *, packing: bool) -> None:
    """Reject a model that would learn something else, or could not be merged.

    Losses are compared in float32 only: other types, and quantized layers, round them by more than
    the tolerance.

    Args:
        model: PEFT model with a new adapter. Its weights and its mode are not changed.
        lora: The experiment's LoRA settings.
        packing: Whether the rows are packed.

    Raises:
        UserError: If merging would fail, an adapter gets no gradient, or the loss of a row
            depends on the rows beside it.
    """
    require_mergeable(model, lora)
    was_training = model.training
    try:
        with torch.random.fork_rng():
            _check_gradients(model.train(), lora)
            if model.dtype == torch.float32 and not getattr(model, "is_quantized", False):
                _check_losses(model.eval(), packing)
    finally:
        model.train(was_training)


def _build_rows(model: Any) -> list[dict[str, list[int]]]:
    """Return three short rows of different lengths, with ids that every vocabulary has."""
    size = model.config.get_text_config().vocab_size
    texts = [[i % size for i in range(first, first + n)] for first, n in ((5, 4), (9, 7), (16, 5))]
    return [{"input_ids": t, "labels": [IGNORE_INDEX, IGNORE_INDEX, *t[2:]]} for t in texts]


def _compute_nll(model: Any, rows: Sequence[Mapping[str, Any]]) -> torch.Tensor:
    batch = {key: value.to(model.device) for key, value in collate(rows).items()}
    return completion_nll(model, batch)[0]


def _check_gradients(model: Any, lora: LoraSettings) -> None:
    """Raise UserError if an adapter is no part of the loss; the layers of one name count as one."""
    torch.autograd.backward(_compute_nll(model, _build_rows(model)).sum())
    parameters = get_adapter_parameters(model)
    has_gradient = {name for name, p in parameters.items() if p.grad is not None and p.grad.any()}
    model.zero_grad(set_to_none=True)
    learning = {_get_module(name) for name in has_gradient}
    if idle := sorted({_get_module(name) for name in parameters} - learning):
        raise UserError(
            f"lora.target_modules {lora.target_modules}: the adapters of {idle[0]} get no gradient "
            "from text, so they would never learn",
            f"leave {idle[0].rpartition('.')[2]} out, or name the modules that learn",
        )


def _get_module(name: str) -> str:
    """Return the module of an adapter tensor, with * for the numbers of layers."""
    module = name.removeprefix("base_model.model.").partition(".lora_")[0]
    return re.sub(r"\.\d+\.", ".*.", module)


@torch.inference_mode()
def _check_losses(model: Any, packing: bool) -> None:
    """Raise UserError if the losses of rows differ alone and in a batch or a packed sequence."""
    rows = _build_rows(model)
    alone = torch.cat([_compute_nll(model, [row]) for row in rows])
    name = type(model.get_base_model()).__name__
    if not torch.allclose(_compute_nll(model, rows), alone, rtol=_TOLERANCE, atol=_TOLERANCE):
        raise UserError(
            f"{name} gives a row another loss when a batch pads it: its padding cannot be masked",
            "choose another model",
        )
    if not packing:
        return
    packed = {key: [i for row in rows for i in row[key]] for key in rows[0]}
    packed["seq_lengths"] = [len(row["input_ids"]) for row in rows]
    hint = "use packing: false"
    try:
        total = _compute_nll(model, [packed])[0]
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"packing: {name} fails on packed rows: {error}", hint) from error
    if not torch.allclose(total, alone.sum(), rtol=_TOLERANCE, atol=_TOLERANCE):
        raise UserError(f"packing: {name} gives a row another loss when it is packed", hint)
