"""manifest.json of tokenized rows."""

from typing import Literal

from blossomtune.artifacts.base import Artifact, Part

FormatName = Literal["prompt_completion", "alpaca", "messages", "sharegpt", "text"]


class RowFormat(Part):
    """Conversion of rows to messages or text.

    Attributes:
        name: name of the format.
        detected: whether the format follows from the columns, not from the configuration.
        column: the column that is read; None if templates write all text.
        templates: Jinja templates by key: system, prompt, completion, text.
    """

    name: FormatName
    detected: bool
    column: str | None
    templates: dict[str, str]


class TokenCounts(Part):
    """Examples and tokens of one file of rows.

    Attributes:
        rows: examples.
        dropped: rows without an example, by reason: unrenderable, too_long.
        truncated: examples that were cut to ``max_length``.
        packed: sequences after packing; None without packing.
        tokens: tokens of all examples.
        completion_tokens: tokens that contribute to the loss.
        longest: tokens of the longest example.
        sha256: digest of the file of token ids.
    """

    rows: int
    dropped: dict[str, int]
    truncated: int
    packed: int | None
    tokens: int
    completion_tokens: int
    longest: int
    sha256: str

    @property
    def num_dropped(self) -> int:
        """Number of rows without an example."""
        return sum(self.dropped.values())

    @property
    def num_examples(self) -> int:
        """Number of sequences to train on."""
        return self.rows if self.packed is None else self.packed


class ClientTokenCounts(TokenCounts):
    """Examples and tokens of one client's training rows.

    Attributes:
        client: index of the client.
    """

    client: int


class HeldOutTokenCounts(Part):
    """Examples and tokens of the rows that a client holds out.

    Attributes:
        client: index of the client.
        validation: the client's validation rows, if any.
        test: the client's test rows, if any.
    """

    client: int
    validation: TokenCounts | None
    test: TokenCounts | None


class TokenizedManifest(Artifact):
    """Tokenized rows of all local clients.

    Attributes:
        shape: format of the rows.
        max_length: largest number of tokens of an example.
        packing: whether training examples were packed into sequences of ``max_length``.
        clients: one entry per local client, in order.
        held_out: one entry per client that holds out rows.
        test: the data set's test rows; None if they are not here.
    """

    shape: RowFormat
    max_length: int
    packing: bool
    clients: list[ClientTokenCounts]
    held_out: list[HeldOutTokenCounts]
    test: TokenCounts | None
