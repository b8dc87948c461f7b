"""Save and restore the state of any optimizer as named tensors."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from blossomtune.errors import UserError
from blossomtune.named_tensors import StateDict

SCALAR_DTYPES = {int: torch.int64, float: torch.float64, bool: torch.bool}
"""Dtypes of the 0-dimensional tensors that stand for numbers. Optimizers have no such tensors."""


def get_optimizer_state(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, Parameter]
) -> StateDict:
    """Copy an optimizer's state to the CPU.

    Args:
        optimizer: Optimizer whose state consists of tensors and numbers.
        parameters: Optimized parameters by name.

    Returns:
        Tensors by key and parameter, e.g. ``exp_avg/<name>``. Numbers are 0-dimensional.

    Raises:
        UserError: If the state contains other values.
    """
    saved: StateDict = {}
    for name, parameter in parameters.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            if type(value) in SCALAR_DTYPES:
                value = torch.tensor(value, dtype=SCALAR_DTYPES[type(value)])
            if value is not None and not isinstance(value, Tensor):
                raise UserError(
                    f"training.optimizer_state: the state of {type(optimizer).__name__} cannot be "
                    f"kept, its {key} is a {type(value).__name__}",
                    "use fresh, or another optimizer",
                )
            if value is not None:
                saved[f"{key}/{name}"] = value.detach().cpu().contiguous().clone()
    return dict(sorted(saved.items()))


def set_optimizer_state(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, Parameter],
    saved_state: Mapping[str, Tensor],
) -> None:
    """Load a saved state into a new optimizer.

    Args:
        optimizer: New optimizer of the same kind.
        parameters: Optimized parameters by name.
        saved_state: State from ``get_optimizer_state``. It is not modified.
    """
    all_parameters = [p for group in optimizer.param_groups for p in group["params"]]
    index = {parameter: i for i, parameter in enumerate(all_parameters)}  # as in state_dict
    state: dict[int, dict[str, Any]] = {}
    for path, value in saved_state.items():
        key, name = path.split("/", 1)
        is_scalar = value.dim() == 0 and value.dtype in SCALAR_DTYPES.values()
        parameter_state = state.setdefault(index[parameters[name]], {})
        parameter_state[key] = value.item() if is_scalar else value.clone()
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
