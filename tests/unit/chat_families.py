"""Model families with their chat templates (chat_templates/*.jinja) and tokens."""

import functools
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from tiny_models import build_byte_tokenizer

FOLDER = Path(__file__).parent / "chat_templates"


class Family(NamedTuple):
    """A chat template with the tokens of its tokenizer.

    Attributes:
        template: Name of a file in `chat_templates`.
        bos: Token that starts a text, or None.
        eos: Token that ends a text.
        special: More control tokens.
        plain: Added tokens that are not control tokens.
        ends: Tokens that end the model's turn.
        arguments: Arguments of the chat template.
        thoughts: Place of a thought that the template reads: the field `reasoning_content`, or
            `<think>` in the content. None if it makes no difference between thought and content.
    """

    template: str
    bos: str | None
    eos: str
    special: tuple[str, ...]
    plain: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    arguments: Mapping[str, Any] = MappingProxyType({})
    thoughts: Literal["field", "content"] | None = None

    @property
    def end_tokens(self) -> tuple[str, ...]:
        return self.ends or (self.eos,)


CHATML_TOKENS = (None, "<|im_end|>", ("<|im_start|>", "<|endoftext|>"))
TOOL_TAGS = ("<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
THINK_TAGS = ("<think>", "</think>")
MISTRAL_TOKENS = (
    *("[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]"),
    *("[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
)
LLAMA3_TOKENS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>")
GEMMA_TOKENS = ("<bos>", "<eos>", ("<start_of_turn>", "<end_of_turn>"))
DEEPSEEK_TOKENS = (
    *("<｜User｜>", "<｜Assistant｜>", "<｜tool▁calls▁begin｜>", "<｜tool▁calls▁end｜>"),
    *("<｜tool▁call▁begin｜>", "<｜tool▁call▁end｜>", "<｜tool▁sep｜>", "<｜tool▁outputs▁begin｜>"),
    *("<｜tool▁outputs▁end｜>", "<｜tool▁output▁begin｜>", "<｜tool▁output▁end｜>"),
)
HARMONY_TOKENS = ("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|call|>")
GRANITE_TOKENS = ("<|start_of_role|>", "<|end_of_role|>", "<|tool_call|>")
LFM2_TOKENS = (
    *("<|im_start|>", "<|tool_list_start|>", "<|tool_list_end|>", "<|tool_call_start|>"),
    *("<|tool_call_end|>", "<|tool_response_start|>", "<|tool_response_end|>"),
)

FAMILIES = {
    "chatml": Family("chatml", *CHATML_TOKENS),
    "llama3": Family(
        "llama3", "<|begin_of_text|>", "<|end_of_text|>", LLAMA3_TOKENS, ends=("<|eot_id|>",)
    ),
    "qwen2_5": Family("qwen2_5", *CHATML_TOKENS, TOOL_TAGS),
    "qwen3": Family("qwen3", *CHATML_TOKENS, TOOL_TAGS + THINK_TAGS, thoughts="field"),
    "qwen3_off": Family(
        *("qwen3", *CHATML_TOKENS, TOOL_TAGS + THINK_TAGS),
        arguments={"enable_thinking": False},
        thoughts="field",
    ),
    "qwen3_thinking": Family("qwen3_thinking", *CHATML_TOKENS, THINK_TAGS, thoughts="field"),
    "gemma2": Family("gemma2", *GEMMA_TOKENS, ends=("<end_of_turn>",)),
    "gemma3": Family("gemma3", *GEMMA_TOKENS, ends=("<end_of_turn>",)),
    "mistral_nemo": Family("mistral_nemo", "<s>", "</s>", MISTRAL_TOKENS),
    "mistral_small": Family(
        *("mistral_small", "<s>", "</s>"),
        (*MISTRAL_TOKENS, "[ARGS]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]"),
    ),
    "phi4": Family("phi4", None, "<|im_end|>", ("<|im_start|>", "<|im_sep|>", "<|endoftext|>")),
    "deepseek_r1": Family(
        "deepseek_r1",
        "<｜begin▁of▁sentence｜>",
        "<｜end▁of▁sentence｜>",
        DEEPSEEK_TOKENS,
        THINK_TAGS,
    ),
    "gpt_oss": Family(
        *("gpt_oss", None, "<|return|>", HARMONY_TOKENS),
        ends=("<|return|>", "<|call|>"),
        thoughts="field",
    ),
    "smollm3": Family("smollm3", *CHATML_TOKENS, THINK_TAGS, thoughts="content"),
    "smollm3_off": Family(
        *("smollm3", *CHATML_TOKENS, THINK_TAGS),
        arguments={"enable_thinking": False},
        thoughts="content",
    ),
    "granite3": Family("granite3", None, "<|end_of_text|>", GRANITE_TOKENS),
    "lfm2": Family("lfm2", "<|startoftext|>", "<|im_end|>", LFM2_TOKENS),
}


@functools.cache
def build_tokenizer(name):
    """Return the byte tokenizer of a family, with its chat template."""
    family = FAMILIES[name]
    template = (FOLDER / f"{family.template}.jinja").read_text(encoding="utf-8")
    return build_byte_tokenizer(
        template, family.bos, family.eos, family.special, plain_tokens=family.plain
    )
