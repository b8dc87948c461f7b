"""SCAFFOLD's control variates, option II (arXiv 1910.06378), over named tensors.

A client moves by y ← y − lr (g + c − c_i), where c is the server's control and c_i its own. With
plain SGD the correction may be taken after each step, as here: y ← y − lr (c − c_i). With other
optimizers that is still what is done: the variates then estimate not gradients but the optimizer's
own steps, divided by the learning rate, and clients are drawn to the mean of these.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

NamedTensors = Mapping[str, Tensor]


@torch.no_grad()
def apply_correction(
    parameters: NamedTensors, correction: NamedTensors, learning_rate: float
) -> None:
    """What follows each optimizer step: w ← w − lr (c − c_i), in place.

    Args:
        living: parameters by name.
        shift: c − c_i, by the names of those to move.
        learning_rate: of that step.
    """
    for name, by in correction.items():
        parameters[name].sub_(by.to(parameters[name].device), alpha=learning_rate)


def update_client_control(
    client_control: NamedTensors,
    server_control: NamedTensors,
    start: NamedTensors,
    end: NamedTensors,
    learning_rate: float,
    steps: int,
) -> dict[str, Tensor]:
    """A client's new control: c_i − c + (x − y) / (K lr).

    Args:
        mine: c_i.
        server: c.
        start: x, the parameters that the client began with.
        end: y, those that it ended with.
        learning_rate: lr, the same in all steps; with 0 nothing is learnt, and c_i stays.
        steps: K.
    """
    if not learning_rate:
        return dict(client_control)
    far = learning_rate * steps
    return {
        name: value - server_control[name] + (start[name] - end[name]) / far
        for name, value in client_control.items()
    }


def update_server_control(
    server_control: NamedTensors, control_deltas: Sequence[NamedTensors], num_clients: int
) -> dict[str, Tensor]:
    """The server's new control: c + Σ (c_i⁺ − c_i) / N.

    Args:
        control: c.
        changes: c_i⁺ − c_i of each client that took part.
        clients: N, how many there are, also those that did not take part.
    """
    return {
        name: value + sum(change[name] for change in control_deltas) / num_clients
        for name, value in server_control.items()
    }
