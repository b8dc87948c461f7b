"""TODO docstring."""

from pydantic import BaseModel


class AdapterConfig(BaseModel):
    """PEFT's adapter_config.json; what went into the base may need other ranks by layer."""

    r: int
    rank_pattern: dict[str, int] = {}

    @property
    def max_rank(self) -> int:
        """The largest."""
        return max([self.r, *self.rank_pattern.values()])
