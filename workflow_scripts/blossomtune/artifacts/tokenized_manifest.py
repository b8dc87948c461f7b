"""TODO docstring."""

from pydantic import BaseModel


class RowFormat(BaseModel):
    """What rows were taken for, and the templates that made conversations of them."""

    name: str
    detected: bool
    column: str | None
    templates: dict[str, str]


class ClientTokenCounts(BaseModel):
    """One client's rows after tokenisation."""

    client: int
    rows: int
    dropped: dict[str, int]
    truncated: int
    packed: int | None
    tokens: int

    @property
    def num_dropped(self) -> int:
        """Rows that nobody trained on."""
        return sum(self.dropped.values())


class TokenizedManifest(BaseModel):
    """What tokenisation made of the clients' rows."""

    shape: RowFormat
    clients: list[ClientTokenCounts]
