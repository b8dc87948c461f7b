"""Encode named tensors as Flower's array records: float32, bfloat16, or int8 with scales.

All tensors of an adapter form one array, whose name is the layout: names and shapes as JSON. Flower
sends each array with requests of its own.

In int8, a channel is one rank component: a row of lora_A (r, k) or a column of lora_B (d, r). Other
tensors are one channel. A channel's scale is its largest magnitude over 127. The rounding error is
added to the next message (error feedback, arXiv 1809.07599 and 1901.09847).
"""

import json
import math
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, RecordDict
from torch import Tensor

from blossomtune.files import to_canonical_json
from blossomtune.named_tensors import StateDict

SCALES_NAME = "channel scales"
"""Name of the array of all channels' scales, in the order of the tensors' names."""


def encode(
    state: Mapping[str, Tensor], precision: str, residual: Mapping[str, Tensor] | None = None
) -> tuple[ArrayRecord, StateDict]:
    """Encode tensors and return what rounding has left of them.

    Args:
        state: float32 tensors.
        precision: ``float32`` (exact), ``bfloat16`` (round to nearest, ties to even) or ``int8``
            (rounding error of at most half a scale).
        residual: Residual of the previous message, which is added before rounding.

    Returns:
        The record and the new residual. In float32 the residual is empty. A residual of a tensor
        that is not in ``state`` (rolora) stays.

    Raises:
        ValueError: If a residual and its tensor differ in shape.
    """
    residual = dict(residual or {})
    exact = {name: _add_residual(name, state[name], residual.get(name)) for name in sorted(state)}
    if precision == "float32":
        return _build_record(exact), {}
    if precision == "bfloat16":  # numpy has no such type, so the bits are sent as integers
        rounded = {name: tensor.bfloat16() for name, tensor in exact.items()}
        errors = {name: exact[name] - value.float() for name, value in rounded.items()}
        record = _build_record({n: t.view(torch.uint16) for n, t in rounded.items()})
        return record, residual | errors
    quantized, scales = {}, []
    for name, tensor in exact.items():
        quantized[name], scale = _quantize_int8(tensor)
        residual[name] = tensor - quantized[name] * scale
        scales.append(scale.flatten())
    record = _build_record(quantized)
    if scales:
        record[SCALES_NAME] = Array(torch.cat(scales).numpy())
    return record, residual


def decode(record: ArrayRecord, precision: str | None = None) -> StateDict:
    """Decode the tensors of a record. NaN and infinity stay as they are.

    Args:
        record: Record from ``encode``; it may come from a malicious client.
        precision: The precision that the record must have; None for any.

    Returns:
        float32 tensors.

    Raises:
        ValueError: If an array, a layout or the scales are malformed or have another precision.
    """
    scales = (
        _read_array(SCALES_NAME, record[SCALES_NAME]) if SCALES_NAME in record else torch.empty(0)
    )
    state: StateDict = {}
    for layout in record:
        if layout != SCALES_NAME:
            values = _read_array("the array of tensors", record[layout])
            if precision and values.dtype != getattr(torch, precision):
                raise ValueError(f"the tensors are {values.dtype}, and {precision} was agreed on")
            state |= _split_array(layout, values)
    shapes = {n: _get_scale_shape(value) for n, value in state.items() if value.dtype == torch.int8}
    counts = [math.prod(shape) for shape in shapes.values()]
    if scales.dtype != torch.float32 or scales.shape != (sum(counts),):
        first = f"; {next(iter(shapes))} is the first with any" if shapes else ""
        raise ValueError(
            f"{SCALES_NAME} is {scales.dtype} {tuple(scales.shape)} instead of float32 "
            f"({sum(counts)},), a number for each channel{first}"
        )
    for (name, shape), scale in zip(shapes.items(), torch.split(scales, counts), strict=True):
        state[name] = state[name] * scale.reshape(shape)
    return {name: value.float() for name, value in state.items()}


def count_message_bytes(content: RecordDict) -> int:
    """Return the number of bytes that Flower sends for the content of a message.

    Flower sends the objects of a message (records, arrays, chunks of arrays), and equal ones once.
    The message's own envelope of a few hundred bytes is not counted.
    """
    sizes: dict[str, int] = {}
    pending: dict[str, Any] = {content.object_id: content}
    while pending:
        object_id, item = pending.popitem()
        sizes[object_id] = len(item.deflate())
        pending |= item.children or {}
    return sum(sizes.values())


def _add_residual(name: str, tensor: Tensor, residual: Tensor | None) -> Tensor:
    if residual is None:
        return tensor
    if residual.shape != tensor.shape:
        was, now = tuple(residual.shape), tuple(tensor.shape)
        raise ValueError(f"the residual of {name} is {was}, and the tensor is {now}")
    return tensor + residual


def _quantize_int8(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Return int8 values up to 127 and the scales; a channel with NaN or infinity has such a scale.

    The scales have the shape of ``_get_scale_shape``.
    """
    axes = [axis for axis, length in enumerate(_get_scale_shape(tensor)) if length == 1]
    scale = tensor.abs().amax(axes, keepdim=True) / 127
    values = (tensor / scale).nan_to_num(0, 0, 0)  # a channel of zeros is 0 / 0
    return values.round().clamp(-127, 127).to(torch.int8), scale


def _get_scale_shape(tensor: Tensor) -> tuple[int, ...]:
    """Return a shape of one scale per channel that broadcasts to the tensor's."""
    if tensor.dim() != 2:
        return (1,) * tensor.dim()
    rows, columns = tensor.shape
    return (rows, 1) if rows <= columns else (1, columns)


def _build_record(state: Mapping[str, Tensor]) -> ArrayRecord:
    if not state:
        return ArrayRecord()
    layout = to_canonical_json({name: list(tensor.shape) for name, tensor in state.items()})
    values = torch.cat([state[name].flatten() for name in sorted(state)])
    return ArrayRecord({layout: Array(values.numpy())})


def _split_array(layout: str, values: Tensor) -> StateDict:
    """Split an array into the tensors of its layout."""
    try:
        shapes = json.loads(layout)
        sizes = [math.prod(shape) for shape in shapes.values()]
        is_valid = all(type(n) is int and n > 0 for shape in shapes.values() for n in shape)
    except (AttributeError, RecursionError, TypeError, ValueError):
        is_valid = False
    if not is_valid or values.shape != (sum(sizes),):
        raise ValueError(f"an array {tuple(values.shape)} is not what its name says: {layout:.80}")
    parts = zip(shapes.items(), torch.split(values, sizes), strict=True)
    return {name: part.reshape(shape) for (name, shape), part in parts}


def _read_array(name: str, array: Array) -> Tensor:
    """Return an array as a tensor of dtype float32, bfloat16 or int8."""
    try:
        # Array.numpy() would open any archive that numpy can read.
        values = np.lib.format.read_array(BytesIO(array.data), allow_pickle=False)
    except Exception as error:  # numpy parses the header as Python, which fails in many ways
        raise ValueError(f"{name} cannot be read: {error}") from error
    if values.dtype not in (np.float32, np.uint16, np.int8):
        raise ValueError(f"{name} is {values.dtype}; float32, uint16 and int8 are known")
    tensor = torch.from_numpy(values)
    return tensor.view(torch.bfloat16) if values.dtype == np.uint16 else tensor
