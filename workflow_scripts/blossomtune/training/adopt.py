"""TODO docstring."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch.nn import Parameter


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
                self._update_parameters(group, known)
            for new in (p for p in found if not self.state[p]):
                self.state[new] = {
                    "step": torch.tensor(1.0),
                    "exp_avg": torch.zeros_like(new),
                    "exp_avg_sq": new.grad.square(),
                }
        return loss

    def _update_parameters(self, group: Mapping[str, Any], parameters: list[Parameter]) -> None:
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
