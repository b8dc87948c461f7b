"""Models as lm-evaluation-harness calls them."""

from collections.abc import Mapping
from typing import Any

from lm_eval.models.huggingface import HFLM

from blossomtune.data.parallel import Worker
from blossomtune.evaluation.stored_model import StoredModel
from blossomtune.modeling.attention import IMPLEMENTATION
from blossomtune.modeling.chat_template import CHAT_TEMPLATE
from blossomtune.modeling.control_tokens import ControlTokens
from blossomtune.modeling.devices import select_device
from blossomtune.modeling.load import parse_dtype
from blossomtune.modeling.tokenizer import load_tokenizer
from blossomtune.work_limits import run_limited


class HarnessModel(HFLM):  # type: ignore[misc]
    """A loaded model; control tokens in questions are removed from the chat template's turns.

    Args:
        model: A transformers model. Its attention becomes that of transformers, so that scores
            have the digits that ``lm_eval`` gives.
        tokenizer: Its tokenizer.
        batch_size: Number of requests per forward pass.
        chat_template_arguments: Arguments of the chat template.
    """

    def __init__(
        self, model: Any, tokenizer: Any, batch_size: int, chat_template_arguments: dict[str, Any]
    ) -> None:
        if model.config._attn_implementation == IMPLEMENTATION:
            model.set_attn_implementation("sdpa")
        super().__init__(
            pretrained=model,
            tokenizer=tokenizer,
            batch_size=batch_size,
            chat_template_args=chat_template_arguments,
        )
        self._control_tokens = ControlTokens(tokenizer)
        self._renderer = Worker(self._render_turns)

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Return the text of a conversation.

        Args:
            chat_history: Turns with ``role`` and ``content``.
            add_generation_prompt: Whether the text ends where the model's answer starts.

        Returns:
            The rendered chat template.

        Raises:
            UserError: If that takes too much time or memory, or writes too much.
        """
        turns = [
            turn | {"content": self._control_tokens.remove(turn["content"])}
            for turn in chat_history
        ]
        return self._renderer.call((turns, add_generation_prompt))

    def close(self) -> None:
        """End the process that renders chat templates."""
        self._renderer.close()

    def _render_turns(self, task: tuple[list[dict[str, str]], bool]) -> str:
        text: str = run_limited(CHAT_TEMPLATE, super().apply_chat_template, *task)
        return text


def load_harness_model(model: StoredModel, settings: Mapping[str, Any]) -> HarnessModel:
    """Load a model for lm-evaluation-harness.

    Args:
        model: Location of the model.
        settings: The stage's settings ``batch_size``, ``device``, ``gpus``, ``dtype`` and
            ``chat_template_arguments``.

    Returns:
        The model, in evaluation mode.
    """
    device = select_device(settings["device"]).type
    num_devices = settings["gpus"] if device != "cpu" else 1
    return HarnessModel(
        model.load(parse_dtype(settings["dtype"]), device, num_devices),
        load_tokenizer(model.directory),
        settings["batch_size"],
        settings["chat_template_arguments"],
    )
