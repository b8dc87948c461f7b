"""ADOPT, and the state of any optimizer as named tensors."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from blossomtune.errors import UserError

SCALAR_DTYPES = {int: torch.int64, float: torch.float64, bool: torch.bool}
"""As what kind of 0-dimensional tensor a plain number is kept; optimizers use no such tensors."""


def get_optimizer_state(
    optimizer: torch.optim.Optimizer, parameters: Mapping[str, Parameter]
) -> dict[str, Tensor]:
    """What an optimizer holds by parameter, as tensors on the CPU.

    Args:
        optimizer: any that holds tensors and numbers, no lists or the like.
        parameters: those that it optimises, by name.

    Returns:
        Tensors by what they are and whose, e.g. ``exp_avg/<name>``; numbers have no dimensions.

    Raises:
        UserError: where it holds something else.
    """
    kept = {}
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
                kept[f"{key}/{name}"] = value.detach().cpu().contiguous().clone()
    return dict(sorted(kept.items()))


def set_optimizer_state(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, Parameter],
    saved_state: Mapping[str, Tensor],
) -> None:
    """Puts into a new optimizer what ``keep`` took out of another, without changing ``kept``."""
    every = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    number = {parameter: i for i, parameter in enumerate(every)}  # as state_dict counts them
    state: dict[int, dict[str, Any]] = {}
    for path, value in saved_state.items():
        key, name = path.split("/", 1)
        plain = value.dim() == 0 and value.dtype in SCALAR_DTYPES.values()
        state.setdefault(number[parameters[name]], {})[key] = (
            value.item() if plain else value.clone()
        )
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
