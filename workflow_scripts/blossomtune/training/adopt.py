"""ADOPT optimizer (arXiv 2411.02853)."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor


class Adopt(torch.optim.Optimizer):
    """ADOPT with clipping and decoupled weight decay (arXiv 2411.02853).

    The first gradient of a parameter only initializes its second moment v. Later gradients g_t
    are divided by max(√v_{t-1}, eps) and clipped to ±t^(1/4). The clipping is needed for LoRA: A
    gets no gradient while B is zero, so its next gradient would be divided by eps.

    Args:
        params: Parameters or parameter groups.
        lr: Learning rate.
        betas: Decay rates of the momentum and of the second moment.
        eps: Lower limit of the divisor, above 0.
        weight_decay: Decoupled weight decay, as in AdamW.
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
        """Update all parameters that have a gradient.

        Args:
            closure: Function that computes gradients and returns the loss.

        Returns:
            The closure's loss, or None.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            parameters = [p for p in group["params"] if p.grad is not None]
            if initialized := [p for p in parameters if self.state[p]]:
                self._update_parameters(group, initialized)
            for p in parameters:
                if not self.state[p]:
                    self.state[p] = {
                        "step": torch.tensor(1.0),
                        "exp_avg": torch.zeros_like(p),
                        "exp_avg_sq": p.grad.square(),
                    }
        return loss

    def _update_parameters(self, group: Mapping[str, Any], parameters: list[Tensor]) -> None:
        lr, (beta1, beta2) = group["lr"], group["betas"]
        states = [self.state[p] for p in parameters]
        gradients = [p.grad for p in parameters if p.grad is not None]
        steps, momenta, second_moments = (
            [state[key] for state in states] for key in ("step", "exp_avg", "exp_avg_sq")
        )
        limits = [float(step) ** 0.25 for step in steps]
        if group["weight_decay"]:
            torch._foreach_mul_(parameters, 1 - lr * group["weight_decay"])
        # g / max(√v, eps) in one temporary list, since a second would cost half a step's time.
        updates = torch._foreach_rsqrt(second_moments)
        torch._foreach_clamp_max_(updates, 1 / group["eps"])
        torch._foreach_mul_(updates, gradients)
        torch._foreach_clamp_max_(updates, limits)
        torch._foreach_clamp_min_(updates, [-limit for limit in limits])
        torch._foreach_lerp_(momenta, updates, 1 - beta1)
        torch._foreach_add_(parameters, momenta, alpha=-lr)
        torch._foreach_mul_(second_moments, beta2)
        torch._foreach_addcmul_(second_moments, gradients, gradients, value=1 - beta2)
        torch._foreach_add_(steps, 1)
