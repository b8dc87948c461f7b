"""ADOPT, and the state of any optimizer as named tensors."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

from blossomtune.errors import UserError

# Not the package torch-adopt: it leans on a dozen private names of torch.optim, one of them
# deprecated, and takes the first tensor's step for that of all.


class Adopt(torch.optim.Optimizer):
    """ADOPT with decoupled weight decay (arXiv 2411.02853).

    A parameter's first gradient only sets its second moment. From then on gradients are divided by
    the root of the moment before them, and cut off at ±t^(1/4): LoRA's A gets no gradient while B
    is zero, and without a limit what comes next would be divided by eps.

    Args:
        params: as for every optimizer of torch.
        lr: learning rate.
        betas: decay of the momentum and of the second moment.
        eps: lower limit of what gradients are divided by, above 0.
        weight_decay: decoupled, as in AdamW.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.9999),
        eps: float = 1e-6,
        weight_decay: float = 0.0,
    ) -> None:
        if eps <= 0:
            raise ValueError(f"ADOPT's eps is {eps}; it must be above 0")
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of all parameters that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            found = [p for p in group["params"] if p.grad is not None]
            if known := [p for p in found if self.state[p]]:
                self._move(group, known)
            for new in (p for p in found if not self.state[p]):
                self.state[new] = {
                    "step": torch.tensor(1.0),
                    "exp_avg": torch.zeros_like(new),
                    "exp_avg_sq": new.grad.square(),
                }
        return loss

    def _move(self, group: Mapping[str, Any], parameters: list[Parameter]) -> None:
        rate, (beta1, beta2) = group["lr"], group["betas"]
        states = [self.state[p] for p in parameters]
        gradients = [p.grad for p in parameters]
        steps, momenta, squares = (
            [state[key] for state in states] for key in ("step", "exp_avg", "exp_avg_sq")
        )
        limits = [float(step) ** 0.25 for step in steps]
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - rate * group["weight_decay"])
        # g / max(√v, eps), in one new list of tensors: room for a second costs half a step
        normed = torch._foreach_rsqrt(squares)
        torch._foreach_clamp_max_(normed, 1 / group["eps"])
        torch._foreach_mul_(normed, gradients)
        torch._foreach_clamp_max_(normed, limits)
        torch._foreach_clamp_min_(normed, [-limit for limit in limits])
        torch._foreach_lerp_(momenta, normed, 1 - beta1)
        torch._foreach_add_(parameters, momenta, alpha=-rate)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, value=1 - beta2)
        torch._foreach_add_(steps, 1)


NUMBERS = {int: torch.int64, float: torch.float64, bool: torch.bool}
"""As what kind of 0-dimensional tensor a plain number is kept; optimizers use no such tensors."""


def keep(
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
            if type(value) in NUMBERS:
                value = torch.tensor(value, dtype=NUMBERS[type(value)])
            if value is not None and not isinstance(value, Tensor):
                raise UserError(
                    f"training.optimizer_state: the state of {type(optimizer).__name__} cannot be "
                    f"kept, its {key} is a {type(value).__name__}",
                    "use fresh, or another optimizer",
                )
            if value is not None:
                kept[f"{key}/{name}"] = value.detach().cpu().contiguous().clone()
    return dict(sorted(kept.items()))


def restore(
    optimizer: torch.optim.Optimizer,
    parameters: Mapping[str, Parameter],
    kept: Mapping[str, Tensor],
) -> None:
    """Puts into a new optimizer what ``keep`` took out of another, without changing ``kept``."""
    every = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    number = {parameter: i for i, parameter in enumerate(every)}  # as state_dict counts them
    state: dict[int, dict[str, Any]] = {}
    for path, value in kept.items():
        key, name = path.split("/", 1)
        plain = value.dim() == 0 and value.dtype in NUMBERS.values()
        state.setdefault(number[parameters[name]], {})[key] = (
            value.item() if plain else value.clone()
        )
    optimizer.load_state_dict(optimizer.state_dict() | {"state": state})
