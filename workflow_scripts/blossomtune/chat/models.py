"""Generate answers of the base model and the federated model, with one copy of the base."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import GenerationConfig, TextStreamer

from blossomtune.chat.experiment import FinishedExperiment
from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import ChatTemplate, detect_turn_format
from blossomtune.modeling.devices import select_device
from blossomtune.modeling.encoding import PAD_TOKEN_ID, extract_answer
from blossomtune.modeling.load import load_model, parse_dtype

MODEL_NAMES = ("base", "federated")


class _Printer(TextStreamer):  # type: ignore[misc] # transformers has no types here
    """Prints an answer while it is generated, and keeps its tokens.

    Args:
        tokenizer: A Hugging Face tokenizer.
    """

    def __init__(self, tokenizer: Any) -> None:
        super().__init__(tokenizer, skip_prompt=True, skip_special_tokens=True)
        self.ids: list[int] = []

    def put(self, value: Tensor) -> None:
        """Take the prompt, and then each token."""
        if not self.next_tokens_are_prompt:
            self.ids += value.flatten().tolist()
        super().put(value)

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Print text without characters that control a terminal.

        Args:
            text: The next text.
            stream_end: Whether the answer ends.
        """
        shown = (c if c.isprintable() or c in "\n\t" else "\N{REPLACEMENT CHARACTER}" for c in text)
        print("".join(shown), end="\n" if stream_end else "", flush=True)


class ChatModels:
    """The base model, with an adapter that can be switched off.

    Args:
        experiment: The experiment to chat with.
        template: The model's chat template, with the arguments of training.
        max_new_tokens: Maximum number of tokens per answer.
    """

    def __init__(
        self, experiment: FinishedExperiment, template: ChatTemplate, max_new_tokens: int
    ) -> None:
        settings = experiment.settings
        device = select_device(settings.evaluation_device).type
        base = load_model(
            experiment.model,
            parse_dtype(settings.evaluation.dtype),
            device=device,
            num_devices=max(1, settings.evaluation_gpus),
        )
        self._model = PeftModel.from_pretrained(base, experiment.adapter).eval()
        self._base, self._template = base, template
        self._max_length = getattr(base.config.get_text_config(), "max_position_embeddings", None)
        self._max_new_tokens = max_new_tokens
        self._end_id = detect_turn_format(template).end_of_turn_id
        # generate() fills what a configuration leaves open from the model's own
        base.generation_config = GenerationConfig(
            do_sample=False, eos_token_id=self._end_id, pad_token_id=PAD_TOKEN_ID
        )

    @torch.inference_mode()
    def print_answer(self, name: str, prompt: Sequence[int]) -> str:
        """Print a model's greedy answer while it is generated. Ctrl-C ends it.

        Args:
            name: ``base`` or ``federated``.
            prompt: Token ids of the prompt.

        Returns:
            The answer, as far as it was generated, for the next turn.

        Raises:
            UserError: If the prompt is too long for the model.
        """
        if self._max_length and len(prompt) + self._max_new_tokens > self._max_length:
            raise UserError(
                f"the model reads {self._max_length} tokens; the conversation has {len(prompt)}, "
                f"and an answer up to {self._max_new_tokens}",
                "/reset starts a new one",
            )
        printer = _Printer(self._template.tokenizer)
        ids = torch.tensor([list(prompt)], device=self._base.device)
        adapter_off = self._model.disable_adapter() if name == "base" else nullcontext()
        try:
            with adapter_off:
                self._base.generate(
                    input_ids=ids,
                    attention_mask=torch.ones_like(ids),
                    max_new_tokens=self._max_new_tokens,
                    streamer=printer,
                )
        except KeyboardInterrupt:
            printer.end()
        answer = printer.ids
        answer = answer[: answer.index(self._end_id)] if self._end_id in answer else answer
        return extract_answer(self._template, self._template.tokenizer.decode(answer)).strip()
