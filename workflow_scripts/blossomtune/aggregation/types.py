"""TODO docstring."""

from dataclasses import dataclass, field

from torch import Tensor

from blossomtune.named_tensors import StateDict

Factors = tuple[Tensor, Tensor]
"""B (d, R) and A (R, k) of one layer, with the scale applied: ΔW = B A."""


WeightedFactors = list[tuple[float, Tensor, Tensor]]
"""A matrix (d, k) as a sum of products: ΔW = Σ w_i B_i A_i."""


LORA_A_SUFFIX, LORA_B_SUFFIX = ".lora_A.weight", ".lora_B.weight"
"""How PEFT's names of the factors end; what stands before is the layer."""


@dataclass(frozen=True)
class ClientUpdate:
    """One client's answer; weights need not sum to 1."""

    state: StateDict
    scale: float
    weight: float


@dataclass(frozen=True)
class AggregationResult:
    """The new global adapter, or its trained part, and by layer what the base takes up."""

    state: StateDict
    base_deltas: dict[str, Factors] = field(default_factory=dict)
