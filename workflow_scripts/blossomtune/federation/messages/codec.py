"""How adapters travel: as float32, as bfloat16, or as int8 with a scale for each channel.

All tensors of an adapter are one array, end to end, whose name says which they are. Flower fetches
every array with requests of its own, half a second for a hundred of them on either side.

With int8, the channels of a matrix are the numbers along its longer side, so that each is a rank
component of a factor: a row of lora_A (r, k), a column of lora_B (d, r). Any other tensor is one
channel. A channel's scale is its largest magnitude over 127. What is rounded off now is added to
what is sent next (error feedback, arXiv 1809.07599 and 1901.09847), so that over the rounds nothing
is lost but the last remainder.
"""

import json
import math
from collections.abc import Mapping
from io import BytesIO

import numpy as np
import torch
from flwr.app import Array, ArrayRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import (
    get_all_nested_objects,
    no_object_id_recompute,
)
from torch import Tensor

from blossomtune.files import to_canonical_json
from blossomtune.named_tensors import StateDict

SCALES_NAME = "channel scales"
"""The array of all channels' scales, tensor by tensor in the order of the names."""


def encode(
    state: Mapping[str, Tensor], precision: str, residual: Mapping[str, Tensor] | None = None
) -> tuple[ArrayRecord, StateDict]:
    """Tensors as a record that can be sent, and what rounding has left of them.

    Args:
        state: float32 tensors by name.
        precision: ``float32`` (bit for bit), ``bfloat16`` (rounded to nearest, ties to even) or
            ``int8`` (off by at most half a scale).
        residual: the remainder of what was sent before; it is added first.

    Returns:
        The record, and the new remainder: empty for float32. Where a name has a remainder and is
        not sent this time (rolora), it stays.

    Raises:
        ValueError: where a remainder has another shape than its tensor.
    """
    residual = dict(residual or {})
    exact = {name: _add_residual(name, state[name], residual.get(name)) for name in sorted(state)}
    if precision == "float32":
        return _build_record(exact), {}
    if precision == "bfloat16":  # numpy has no such type, so the bits travel as whole numbers
        short = {name: tensor.bfloat16() for name, tensor in exact.items()}
        left = {name: exact[name] - value.float() for name, value in short.items()}
        return _build_record({n: t.view(torch.uint16) for n, t in short.items()}), residual | left
    whole, scales, remainder = {}, [], residual
    for name, tensor in exact.items():
        whole[name], scale = _quantize_int8(tensor)
        remainder[name] = tensor - whole[name] * scale
        scales.append(scale.flatten())
    record = _build_record(whole)
    if scales:
        record[SCALES_NAME] = Array(torch.cat(scales).numpy())
    return record, remainder


def decode(record: ArrayRecord) -> StateDict:
    """The tensors of a record, float32 by name. What is no number stays none.

    Raises:
        ValueError: saying what is malformed, and how.
    """
    scales = (
        _read_array(SCALES_NAME, record[SCALES_NAME]) if SCALES_NAME in record else torch.empty(0)
    )
    arrays: StateDict = {}
    for layout in record:
        if layout != SCALES_NAME:
            arrays |= _split_array(layout, _read_array("the array of tensors", record[layout]))
    shapes = {n: _get_scale_shape(each) for n, each in arrays.items() if each.dtype == torch.int8}
    counts = [math.prod(shape) for shape in shapes.values()]
    if scales.dtype != torch.float32 or scales.shape != (sum(counts),):
        first = f"; {next(iter(shapes))} is the first with any" if shapes else ""
        raise ValueError(
            f"{SCALES_NAME} is {scales.dtype} {tuple(scales.shape)} instead of float32 "
            f"({sum(counts)},), a number for each channel{first}"
        )
    for (name, shape), mine in zip(shapes.items(), scales.split(counts), strict=True):
        arrays[name] = arrays[name] * mine.reshape(shape)
    return {name: each.float() for name, each in arrays.items()}


def count_message_bytes(content: RecordDict) -> int:
    """The bytes that Flower sends for the content of a message.

    It sends objects (records, arrays, pieces of arrays), and equal ones once. The message's own
    envelope of a few hundred bytes is left out.
    """
    with no_object_id_recompute():  # else the sums of an array are made anew for each parent
        return sum(len(each.deflate()) for each in get_all_nested_objects(content).values())


def _add_residual(name: str, tensor: Tensor, residual: Tensor | None) -> Tensor:
    if residual is None:
        return tensor
    if residual.shape != tensor.shape:
        was, now = tuple(residual.shape), tuple(tensor.shape)
        raise ValueError(f"the remainder of {name} is {was}, and the tensor is {now}")
    return tensor + residual


def _quantize_int8(tensor: Tensor) -> tuple[Tensor, Tensor]:
    """Whole numbers up to 127 and their scales; a channel that is not finite gets such a scale."""
    axes = [axis for axis, length in enumerate(_get_scale_shape(tensor)) if length == 1]
    scale = tensor.abs().amax(axes, keepdim=True) / 127
    counts = (tensor / scale).nan_to_num(0, 0, 0)  # a channel of zeros is 0 / 0
    return counts.round().clamp(-127, 127).to(torch.int8), scale


def _get_scale_shape(tensor: Tensor) -> tuple[int, ...]:
    """The shape of a tensor's scales, such that they can be multiplied with it."""
    if tensor.dim() != 2:
        return (1,) * tensor.dim()
    rows, columns = tensor.shape
    return (rows, 1) if rows <= columns else (1, columns)


def _build_record(tensors: Mapping[str, Tensor]) -> ArrayRecord:
    if not tensors:
        return ArrayRecord()
    layout = to_canonical_json({name: list(tensor.shape) for name, tensor in tensors.items()})
    values = torch.cat([tensors[name].flatten() for name in sorted(tensors)])
    return ArrayRecord({layout: Array(values.numpy())})


def _split_array(layout: str, values: Tensor) -> StateDict:
    """The tensors of an array, by the names and shapes that its own name tells."""
    try:
        shapes = json.loads(layout)
        sizes = [math.prod(shape) for shape in shapes.values()]
        told = all(type(n) is int and n > 0 for shape in shapes.values() for n in shape)
    except (AttributeError, RecursionError, TypeError, ValueError):
        told = False
    if not told or values.shape != (sum(sizes),):
        raise ValueError(f"an array {tuple(values.shape)} is not what its name says: {layout:.80}")
    parts = zip(shapes.items(), values.split(sizes), strict=True)
    return {name: part.reshape(shape) for (name, shape), part in parts}


def _read_array(name: str, array: Array) -> Tensor:
    """An array as a tensor, bfloat16 as such."""
    try:
        # Not Array.numpy(), which opens any archive that numpy knows.
        values = np.lib.format.read_array(BytesIO(array.data), allow_pickle=False)
    except Exception as error:  # numpy reads the header as Python, which fails in many ways
        raise ValueError(f"{name} cannot be read: {error}") from error
    if values.dtype not in (np.float32, np.uint16, np.int8):
        raise ValueError(f"{name} is {values.dtype}; float32, uint16 and int8 are known")
    tensor = torch.from_numpy(values)
    return tensor.view(torch.bfloat16) if values.dtype == np.uint16 else tensor
