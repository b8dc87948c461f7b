import math

import pytest
import torch
from optimizer_steps import as_parameters, random_gradients, run_steps

from blossomtune.errors import UserError
from blossomtune.training.adopt import Adopt
from blossomtune.training.optimizer_state import get_optimizer_state, set_optimizer_state


def build_adafactor(parameters):
    from transformers.optimization import Adafactor  # its state has plain numbers

    return Adafactor(parameters, 0.01, relative_step=False, scale_parameter=False)


OPTIMIZERS = {
    "adopt": lambda p: Adopt(p, 0.01, weight_decay=0.1),
    "adamw": lambda p: torch.optim.AdamW(p, 0.01),
    "fused adamw": lambda p: torch.optim.AdamW(p, 0.01, fused=True),
    "amsgrad": lambda p: torch.optim.Adam(p, 0.01, amsgrad=True),
    "nadam": lambda p: torch.optim.NAdam(p, 0.01),
    "sgd": lambda p: torch.optim.SGD(p, 0.01),
    "momentum": lambda p: torch.optim.SGD(p, 0.01, momentum=0.9),
    "adagrad": lambda p: torch.optim.Adagrad(p, 0.01),
    "rmsprop": lambda p: torch.optim.RMSprop(p, 0.01, centered=True, momentum=0.5),
    "adafactor": build_adafactor,
}


@pytest.mark.parametrize("build", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("method", ["optimizer_state", "state_dict"])
def test_optimizer_continues_from_its_state_bit_by_bit(build, method):
    start, gradients = random_gradients(2, 10, dtype=torch.float32)
    expected = as_parameters(start)
    run_steps(build(expected), expected, gradients)

    parameters = as_parameters(start)
    first, named = build(parameters), {"a.weight": parameters[0], "b.weight": parameters[1]}
    run_steps(first, parameters, gradients[:5])
    if method == "optimizer_state":
        second = build(list(reversed(parameters)))  # matched by name, not by position
        saved = get_optimizer_state(first, named)
        before = {name: value.clone() for name, value in saved.items()}
        set_optimizer_state(second, named, saved)
    else:
        second = build(parameters)
        second.load_state_dict(first.state_dict())
    run_steps(second, parameters, gradients[5:])
    assert all(torch.equal(a, b) for a, b in zip(expected, parameters, strict=True))
    if method == "optimizer_state":  # intact, for another attempt
        assert all(torch.equal(before[name], saved[name]) for name in before)


def test_saved_state_is_a_copy_by_key_and_name():
    start, gradients = random_gradients(3, 3, dtype=torch.float32)
    parameters = as_parameters(start)
    optimizer = Adopt(parameters)
    run_steps(optimizer, parameters, gradients)
    saved = get_optimizer_state(optimizer, {"a": parameters[0], "b": parameters[1]})
    keys = ("exp_avg", "exp_avg_sq", "step")
    assert list(saved) == sorted(f"{key}/{name}" for key in keys for name in "ab")
    assert saved["step/a"].shape == () and saved["step/a"] == 3
    run_steps(optimizer, parameters, gradients)
    assert saved["step/a"] == 3
    assert not torch.equal(saved["exp_avg/a"], optimizer.state[parameters[0]]["exp_avg"])


def test_state_other_than_tensors_and_numbers_is_rejected():
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.LBFGS([parameter])

    def closure():
        optimizer.zero_grad()
        loss = (parameter - math.pi).square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    with pytest.raises(UserError, match="LBFGS cannot be kept"):
        get_optimizer_state(optimizer, {"a": parameter})
