"""Write conversations as the prompts that the model saw in training."""

from collections.abc import Sequence

from blossomtune.artifacts.tokenized_manifest import RowFormat, TokenizedManifest
from blossomtune.config.preprocessing import PreprocessingSettings
from blossomtune.data.templates import Template
from blossomtune.data.tokenization.examples import build_examples
from blossomtune.data.tokenization.messages import MessageBuilder
from blossomtune.data.tokenization.row_errors import RowError
from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import ChatMessage, ChatTemplate

_PLACEHOLDER: ChatMessage = {"role": "assistant", "content": "-"}
"""Answer after a prompt; only its context is used."""


class PromptEncoder:
    """Converts conversations to token ids, with the code that converts rows.

    Args:
        template: The model's chat template.
        preprocessing: The experiment's preprocessing.
        manifest: Manifest of the tokenized rows.
        system: Text of the system turn instead of the configured one.

    Attributes:
        has_row_system: Whether rows have system turns of their own, which a chat does not have.
    """

    def __init__(
        self,
        template: ChatTemplate,
        preprocessing: PreprocessingSettings,
        manifest: TokenizedManifest,
        system: str | None = None,
    ) -> None:
        self._template = template
        shape, columns = manifest.shape, manifest.column_use.columns
        templates = {k: v for k, v in shape.templates.items() if k == "system" and not system}
        self.has_row_system = system is None and "system" in shape.columns
        if templates and Template("system", templates["system"]).find_columns(columns):
            templates, self.has_row_system = {}, True
        self._first = [{"role": "system", "content": system}] if system else []
        shape = RowFormat(
            name="messages", detected=False, columns={"messages": "messages"}, templates=templates
        )
        # one context with the whole conversation, whatever turns the rows learn
        config = preprocessing.model_dump(mode="json") | {"loss": "last_turn"}
        self._builder = MessageBuilder(shape, config, template.control_tokens)

    def encode(self, messages: Sequence[ChatMessage]) -> list[int]:
        """Return the token ids of a prompt.

        Args:
            messages: Turns of user and assistant; the last one is the user's.

        Returns:
            Token ids, as in training and evaluation.

        Raises:
            UserError: If the chat template refuses the conversation, or a turn has control tokens
                that are not allowed.
        """
        # earlier answers may be empty, as none that is learnt
        earlier = [m | {"weight": 0} if m["role"] == "assistant" else m for m in messages]
        row = {"messages": [*self._first, *earlier, _PLACEHOLDER]}
        (example,) = build_examples(
            [row], 0, self._builder, self._template, allow_prompt_mismatch=True, last_only=True
        )
        if isinstance(example, RowError):
            raise example.reason
        return list(example.turn_ids[0])


class RowPrompt:
    """Writes a text in the place of a column of the experiment's prompt.

    Args:
        manifest: Manifest of the tokenized rows.

    Raises:
        UserError: If the prompt has no template that reads exactly one column.
    """

    def __init__(self, manifest: TokenizedManifest) -> None:
        source = manifest.shape.templates.get("prompt", "")
        self._template = Template("prompt", source)
        columns = sorted(self._template.find_columns(manifest.column_use.columns))
        if len(columns) != 1:
            raise UserError(
                "--row: the experiment's prompt is no template that reads exactly one column; "
                f"it reads {', '.join(columns) or 'none'}",
                "leave --row out and write whole prompts",
            )
        (self.column,) = columns

    def render(self, text: str) -> str:
        """Return the prompt of a row with this text."""
        return self._template.render({self.column: text}, "row")
