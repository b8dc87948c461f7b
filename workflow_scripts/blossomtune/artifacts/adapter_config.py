"""adapter_config.json, in PEFT's format."""

from pydantic import BaseModel


class AdapterConfig(BaseModel):
    """The keys of PEFT's adapter_config.json that stages read.

    Attributes:
        r: rank.
        lora_alpha: numerator of the scaling factor.
        lora_dropout: dropout probability of the adapter's input.
        use_rslora: whether the scaling divides by the square root of the rank.
        rank_pattern: ranks that differ from ``r``, by layer.
        alpha_pattern: numerators that differ from ``lora_alpha``, by layer.
        target_modules: adapted modules, or a regular expression of their names.
    """

    r: int
    lora_alpha: int | float
    lora_dropout: int | float
    use_rslora: bool
    rank_pattern: dict[str, int] = {}
    alpha_pattern: dict[str, int | float] = {}
    target_modules: str | list[str]

    @property
    def max_rank(self) -> int:
        """Largest rank of a layer."""
        return max([self.r, *self.rank_pattern.values()])
