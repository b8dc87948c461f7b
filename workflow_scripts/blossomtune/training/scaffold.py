"""SCAFFOLD: control variates, option II (arXiv 1910.06378).

A client steps by y ← y − lr (g + c − c_i), with the server's control variate c and its own c_i.
With plain SGD, the correction y ← y − lr (c − c_i) can follow each step instead, as it does here.
With other optimizers, control variates estimate the optimizer's steps divided by lr, not gradients.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from blossomtune.named_tensors import StateDict

NamedTensors = Mapping[str, Tensor]


@torch.no_grad()
def apply_correction(
    parameters: NamedTensors, correction: NamedTensors, learning_rate: float
) -> None:
    """Correct parameters after an optimizer step, in place: y ← y − lr (c − c_i).

    Args:
        parameters: Parameters y by name.
        correction: c − c_i, by the names of the parameters to correct.
        learning_rate: Learning rate lr of the step.
    """
    for name, value in correction.items():
        parameters[name].sub_(value.to(parameters[name].device), alpha=learning_rate)


def update_client_control(
    client_control: NamedTensors,
    server_control: NamedTensors,
    start: NamedTensors,
    end: NamedTensors,
    learning_rate: float,
    steps: int,
) -> StateDict:
    """Compute a client's next control variate: c_i − c + (x − y) / (K lr).

    Args:
        client_control: c_i.
        server_control: c.
        start: Parameters x before the round.
        end: Parameters y after the round.
        learning_rate: lr, the same in all steps. With 0, nothing is learned and c_i stays.
        steps: Number of optimizer steps K.

    Returns:
        c_i⁺, by name.
    """
    if not learning_rate:
        return dict(client_control)
    total_rate = learning_rate * steps
    return {
        name: value - server_control[name] + (start[name] - end[name]) / total_rate
        for name, value in client_control.items()
    }


def update_server_control(
    server_control: NamedTensors, control_deltas: Sequence[NamedTensors], num_clients: int
) -> StateDict:
    """Compute the server's next control variate: c + Σ (c_i⁺ − c_i) / N.

    Args:
        server_control: c.
        control_deltas: c_i⁺ − c_i of each client that trained in the round.
        num_clients: Number N of clients in the federation, sampled or not.

    Returns:
        The next c, by name.
    """
    return {
        name: value + sum(delta[name] for delta in control_deltas) / num_clients
        for name, value in server_control.items()
    }
