"""Count the memory that PyTorch code would allocate, without allocating it.

Floating-point tensors are PyTorch's FakeTensors, which have a shape and no data. Tensors of
integers and booleans are real, since the sizes of other tensors depend on token ids and masks.
"""

import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_ATEN = torch.ops.aten


class AllocationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Sum the sizes of the FakeTensors that exist.

    What C++ kernels allocate within an operation is not counted.

    Attributes:
        live: Bytes of the FakeTensors that exist now.
        peak: Largest value of ``live`` so far.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.live = self.peak = 0
        self._storages: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Run an operation on real integers or on FakeTensors, and count its results.

        Args:
            func: Operation.
            types: Classes of its tensors.
            args: Its arguments.
            kwargs: Its keyword arguments.

        Returns:
            The operation's results.
        """
        kwargs = kwargs or {}
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        if not any(isinstance(x, FakeTensor) for x in tensors):
            if _returns_integers(func, args, kwargs, tensors):
                with unset_fake_temporarily():
                    return func(*args, **kwargs)
        elif func is _ATEN._local_scalar_dense.default:
            return 1.0 if args[0].dtype.is_floating_point else True  # tests of a model succeed
        elif func in (_ATEN.equal.default, _ATEN.allclose.default):
            return True
        elif func is _ATEN._grouped_mm.default:
            func, args, kwargs = (
                _ATEN.new_empty.default,
                _shape_grouped_product(*args, **kwargs),
                {},
            )
        elif func in (_ATEN.index.Tensor, _ATEN.index_put.default, _ATEN.index_put_.default):
            args = (args[0], _replace_masks(args[1]), *args[2:])
        result = func(*args, **kwargs)
        for tensor in tree_leaves(result):
            if isinstance(tensor, FakeTensor):
                self._count(tensor)
        return result

    def _count(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        if (key := storage._cdata) in self._storages:
            return
        size = storage.nbytes()
        self._storages.add(key)
        self.live += size
        self.peak = max(self.peak, self.live)
        weakref.finalize(storage, self._forget, key, size)

    def _forget(self, key: int, size: int) -> None:
        self._storages.discard(key)
        self.live -= size


@contextmanager
def count_allocations() -> Iterator[AllocationCounter]:
    """Create FakeTensors in place of tensors of floating-point numbers.

    Yields:
        Counter of their bytes.
    """
    with FakeTensorMode(allow_non_fake_inputs=True), AllocationCounter() as counter:
        yield counter


def _returns_integers(func: Any, args: Any, kwargs: Mapping[str, Any], tensors: Any) -> bool:
    """Return whether the result of an operation without FakeTensors has no fractions."""
    if (dtype := kwargs.get("dtype")) is not None:
        return not (dtype.is_floating_point or dtype.is_complex)
    if func is _ATEN._to_copy.default or tensors:
        return not any(x.is_floating_point() or x.is_complex() for x in tensors)
    is_arange = func.overloadpacket is _ATEN.arange
    return is_arange and all(isinstance(x, int) for x in args)


def _replace_masks(indices: Any) -> list[Any]:
    """Return indices with positions in place of masks, so that the result's size is known."""
    replaced: list[Any] = []
    for index in indices:
        if index is None or index.dtype != torch.bool or isinstance(index, FakeTensor):
            replaced.append(index)
        else:
            with unset_fake_temporarily():
                replaced += index.nonzero(as_tuple=True)
    return replaced


def _shape_grouped_product(a: Tensor, b: Tensor, offsets: Tensor, *_: Any, **__: Any) -> Any:
    """Return ``new_empty``'s arguments for a product of experts, which fakes in bfloat16 only."""
    if b.dim() == 3:
        return a, [*a.shape[:-1], b.shape[-1]]
    return a, [offsets.shape[0], a.shape[0], b.shape[1]]
