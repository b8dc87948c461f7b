"""Pretend an accelerator: real values on the CPU in tensors of another device.

PyTorch lets Python register a backend of the type PrivateUse1. Its tensors are of the type
``pretended``. Each operation computes on the CPU and fails as CUDA does where devices are mixed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten
DEVICE_TYPE = "pretended"
CPU = torch.device("cpu")

COPIES = {
    aten._to_copy.default,
    aten.copy_.default,
    aten.to.device,
    aten.to.dtype,
    aten.to.dtype_layout,
    aten.to.other,
}
"""Operations that may read from another device."""

INDEXING = {
    aten.index.Tensor,
    aten.index_put.default,
    aten.index_put_.default,
    aten._index_put_impl_.default,
}
"""Operations that accept indices on the CPU, as on CUDA."""

PINNING = {aten.pin_memory.default, aten._pin_memory.default}


class DeviceMismatchError(RuntimeError):
    """An operation on tensors of different devices."""


class PretendedTensor(Tensor):
    """A tensor of the pretended device; ``value`` is on the CPU."""

    value: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, value):
        tensor = Tensor._make_wrapper_subclass(
            cls,
            value.shape,
            strides=value.stride(),
            storage_offset=value.storage_offset(),
            dtype=value.dtype,
            device=get_device(),
        )
        tensor.value = value
        return tensor

    def __init__(self, value):
        pass

    def __repr__(self):
        return f"PretendedTensor({self.value!r})"

    @classmethod
    def __torch_dispatch__(cls, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})

    @property
    def data(self):
        return Tensor.data.__get__(self)

    @data.setter
    def data(self, tensor):
        if not is_pretended(tensor):
            raise DeviceMismatchError("the data of a tensor stays on its device")
        Tensor.data.__set__(self, tensor)
        self.value = tensor.value

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            copy = PretendedTensor(self.value.detach().clone())
            if isinstance(self, torch.nn.Parameter):
                copy = torch.nn.Parameter(copy, self.requires_grad)
            memo[id(self)] = copy
        return memo[id(self)]

    def data_ptr(self):
        return self.value.data_ptr()

    def tolist(self):
        return self.value.tolist()

    def numpy(self, *args, **kwargs):
        raise TypeError("can't convert a tensor of the pretended device to numpy")


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        return _run(operation, args, kwargs or {})


class _Hooks(torch._C._acc.PrivateUse1Hooks):
    is_enabled = False

    def is_available(self):
        return self.is_enabled

    def has_primary_context(self, index):
        return self.is_enabled

    def is_built(self):
        return True


class _Guard(torch._C._acc.DeviceGuard):
    def type_(self):
        return torch._C._autograd.DeviceType.PrivateUse1


class _Module:
    """Functions as in ``torch.cuda``."""

    def is_available(self):
        return _HOOKS.is_enabled

    def is_initialized(self):
        return True

    def device_count(self):
        return 1

    def current_device(self):
        return 0

    def _is_in_bad_fork(self):
        return False

    def get_amp_supported_dtype(self):
        return [torch.bfloat16, torch.float16]

    def get_rng_state(self, device=None):
        return torch.get_rng_state()

    def set_rng_state(self, state, device=None):
        torch.set_rng_state(state)

    def __getattr__(self, name):
        if name in ("manual_seed_all", "manual_seed", "synchronize", "empty_cache"):
            return lambda *args: None
        raise AttributeError(name)


_HOOKS = _Hooks()


def get_device() -> torch.device:
    """Return the pretended device."""
    return torch.device(DEVICE_TYPE, 0)


@contextmanager
def pretended_device() -> Iterator[torch.device]:
    """Make the device available, also to transformers' Trainer, and yield it."""
    if not hasattr(torch, DEVICE_TYPE):  # once per process
        backend_registration._setup_privateuseone_for_python_backend(
            rename=DEVICE_TYPE, backend_module=_Module(), hook=_HOOKS, device_guard=_Guard()
        )
    environment = {"ACCELERATE_TORCH_DEVICE": str(get_device())}
    with mock.patch.object(_Hooks, "is_enabled", True), mock.patch.dict(os.environ, environment):
        torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(…, device=…) reaches the mode
        try:
            with _Mode():
                yield get_device()
        finally:
            torch._C._set_only_lift_cpu_tensors(False)


def is_pretended(tensor: Any) -> bool:
    """Return whether a value is a tensor of the pretended device."""
    return isinstance(tensor, PretendedTensor)


def _run(operation, args, kwargs):
    """Run an operation on the values; return tensors of the device on which a GPU would put them.

    Views of parameters may not be inference tensors, so inference mode is left.
    """
    tensors, devices = [], []
    values = [_unwrap(arg, tensors, devices) for arg in args]
    named = {name: _unwrap(value, tensors, devices) for name, value in kwargs.items()}
    _check_devices(operation, args, tensors)
    if operation is aten.is_pinned.default:
        return False
    if operation in PINNING:
        return args[0]
    if operation is aten.copy_.default:
        on_device = is_pretended(args[0])
    elif operation is aten.to.other:
        on_device = is_pretended(args[1])
    elif devices:
        on_device = devices[0].type == DEVICE_TYPE
    else:
        on_device = any(map(is_pretended, tensors))
    if torch.is_inference_mode_enabled():
        with torch.inference_mode(mode=False), torch._C._AutoDispatchBelowAutograd():
            result = _compute(operation, values, named)
            result = _wrap(result) if on_device else result
    else:
        result = _compute(operation, values, named)
        result = _wrap(result) if on_device else result
    return _return_arguments(operation, args, kwargs, result)


def _unwrap(value, tensors, devices):
    """Return what the CPU gets for a value; add its tensors and devices to the lists."""
    if isinstance(value, Tensor):
        tensors.append(value)
        return value.value if isinstance(value, PretendedTensor) else value
    if isinstance(value, list | tuple):
        return type(value)(_unwrap(item, tensors, devices) for item in value)
    if isinstance(value, torch.device):
        devices.append(value)
        return CPU
    return value


def _wrap(result):
    if isinstance(result, Tensor):
        return PretendedTensor(result)
    if isinstance(result, list | tuple):
        return type(result)(map(_wrap, result))
    return result


def _check_devices(operation, args, tensors):
    """Raise if a tensor is on the CPU and another is not; scalars may be on the CPU, as on CUDA."""
    if operation in COPIES or not any(map(is_pretended, tensors)):
        return
    others = [tensor for tensor in tensors if not is_pretended(tensor) and tensor.dim()]
    if operation in INDEXING:
        indices = {id(index) for index in args[1]}
        others = [tensor for tensor in others if id(tensor) not in indices]
    if others:
        found = ", ".join(f"{tuple(tensor.shape)} on {tensor.device.type}" for tensor in tensors)
        raise DeviceMismatchError(f"{operation} mixes devices: {found}")


def _compute(operation, args, kwargs):
    if operation is aten.histc.default and not args[0].is_floating_point():  # CUDA counts integers
        return operation(args[0].float(), *args[1:], **kwargs).to(args[0].dtype)
    return operation(*args, **kwargs)


def _return_arguments(operation, args, kwargs, result):
    """Replace results of operations in place by the arguments that they changed."""
    schema = operation._schema
    if not schema.is_mutable:
        return result
    named = dict(zip([argument.name for argument in schema.arguments], args, strict=False)) | kwargs
    changed = {
        alias: named.get(argument.name)
        for argument in schema.arguments
        if argument.alias_info is not None
        for alias in argument.alias_info.before_set
    }
    results = [result] if len(schema.returns) == 1 else list(result or [])
    for i, returned in enumerate(schema.returns):
        if returned.alias_info is not None and returned.alias_info.is_write:
            [alias] = returned.alias_info.before_set
            results[i] = changed[alias]
    return results[0] if len(schema.returns) == 1 else tuple(results) or None
