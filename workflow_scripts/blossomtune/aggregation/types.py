"""Types and tensor names of low-rank adapters and their updates."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from blossomtune.named_tensors import StateDict

Factors = tuple[Tensor, Tensor]
"""B (d, r) and A (r, k) of one layer."""

WeightedFactors = list[tuple[float, Tensor, Tensor]]
"""Terms (w_i, B_i, A_i) of a sum of products Σ w_i B_i A_i, a (d, k) matrix."""

LORA_A_SUFFIX, LORA_B_SUFFIX = ".lora_A.weight", ".lora_B.weight"
"""Suffixes of PEFT's tensor names. The rest of a name is the layer."""


@dataclass(frozen=True)
class ClientUpdate:
    """Trained tensors of one client.

    Attributes:
        state: Tensors by PEFT's names, at the client's own rank r_i.
        scale: LoRA scaling s_i of the client: its weight update is s_i B_i A_i.
        weight: Aggregation weight. Weights need not sum to 1.
    """

    state: Mapping[str, Tensor]
    scale: float
    weight: float


@dataclass(frozen=True)
class AggregationResult:
    """Outcome of aggregating one round.

    Attributes:
        state: New tensors of the server's adapter, at the server's rank.
        base_deltas: Updates B A that are added to the base weights, by layer. All layers together
            may be as large as all client updates, so each is computed when it is used.
    """

    state: StateDict
    base_deltas: Mapping[str, Factors] = field(default_factory=dict)


AggregationFunction = Callable[[Sequence[ClientUpdate], StateDict, float], AggregationResult]
"""Maps client updates, the server's adapter and its LoRA scaling to the next adapter."""
