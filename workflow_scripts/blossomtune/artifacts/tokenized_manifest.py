"""manifest.json of tokenized rows."""

from typing import Any, Literal

from blossomtune.artifacts.base import Artifact, Part
from blossomtune.artifacts.leaks import Leaks

FormatName = Literal["prompt_completion", "alpaca", "messages", "sharegpt", "input_ideal", "text"]


class RowFormat(Part):
    """Conversion of rows to messages or text.

    Attributes:
        name: name of the format.
        detected: whether the format follows from the columns, not from the configuration.
        columns: columns that are read without a template, by use: messages, text, prompt, answer,
            system, history, tools.
        templates: Jinja templates by key: system, prompt, completion, text.
    """

    name: FormatName
    detected: bool
    columns: dict[str, str]
    templates: dict[str, str]


class ColumnUse(Part):
    """Columns and fields of turns that the model learns from or sees, and the others.

    Attributes:
        columns: columns that are read.
        ignored_columns: the other columns.
        turn_fields: fields of turns that are read, as ``column.field``.
        ignored_turn_fields: the other fields of turns.
    """

    columns: list[str]
    ignored_columns: list[str]
    turn_fields: list[str]
    ignored_turn_fields: list[str]


class ChatTemplateUse(Part):
    """Use of the model's chat template, in training and evaluation alike.

    Attributes:
        arguments: the variables that the template gets.
        control_tokens: treatment of control tokens in rows.
        answer_prefix: text that the model writes between a prompt and its answer.
        unseen_prompt_end: end of prompts at inference that training does not have.
        end_of_turn: token that ends the model's turns.
        warnings: differences of training and inference that the configuration allows.
    """

    arguments: dict[str, Any]
    control_tokens: Literal["error", "text", "keep"]
    answer_prefix: str
    unseen_prompt_end: str
    end_of_turn: str
    warnings: list[str]


class TokenCounts(Part):
    """Examples and tokens of one file of rows.

    Attributes:
        rows: examples.
        dropped: rows without an example, by reason: unrenderable, too_long, leaks.
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
        column_use: columns and turn fields that are read or ignored.
        chat_template: use of the model's chat template;
        max_length: largest number of tokens of an example.
        packing: whether training examples were packed into sequences of ``max_length``.
        clients: one entry per local client, in order.
        held_out: one entry per client that holds out rows.
        test: the data set's test rows; None if they are not here.
        leaks: duplicates between held-out and training rows, and among training rows.
    """

    shape: RowFormat
    column_use: ColumnUse
    chat_template: ChatTemplateUse
    max_length: int
    packing: bool
    clients: list[ClientTokenCounts]
    held_out: list[HeldOutTokenCounts]
    test: TokenCounts | None
    leaks: Leaks
