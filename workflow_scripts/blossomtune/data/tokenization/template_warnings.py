"""Describe the use of a chat template, and warn where training and inference differ."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from blossomtune.artifacts.tokenized_manifest import ChatTemplateUse
from blossomtune.files import read_json
from blossomtune.modeling.chat_template import ChatTemplate, detect_turn_format

logger = logging.getLogger(__name__)


def describe_chat_template(
    template: ChatTemplate, config: Mapping[str, Any], model: Path
) -> ChatTemplateUse:
    """Return the use of a chat template for the manifest, and log its warnings.

    Args:
        template: the model's chat template.
        config: a preprocessing block.
        model: directory of the model.

    Returns:
        The use, with warnings.

    Raises:
        UserError: if the template cannot be rendered.
    """
    turn = detect_turn_format(template)
    warnings = list(_find_mismatches(template, config, model))
    for warning in warnings:
        logger.warning(warning)
    return ChatTemplateUse(
        arguments=config["chat_template_arguments"],
        control_tokens=config["control_tokens"],
        answer_prefix=turn.answer_prefix,
        unseen_prompt_end=turn.unseen_prompt_end,
        end_of_turn=turn.end_of_turn_token,
        warnings=warnings,
    )


def _find_mismatches(
    template: ChatTemplate, config: Mapping[str, Any], model: Path
) -> Iterator[str]:
    turn = detect_turn_format(template)
    if turn.unseen_prompt_end and config["prompt_mismatch"] == "warn":
        yield (
            f"prompts end with {turn.unseen_prompt_end!r} at inference, which training does not "
            "show: answers may be worse than their loss"
        )
    if not turn.writes_end_of_turn:
        yield (
            f"the chat template writes no token at the end of a turn; {turn.end_of_turn_token!r} "
            "is learnt there, which it does not show in later prompts"
        )
    stops = _list_stop_ids(template.tokenizer, model)
    if turn.end_of_turn_id not in stops:
        names = ", ".join(map(repr, template.tokenizer.convert_ids_to_tokens(sorted(stops))))
        yield (
            f"turns end with {turn.end_of_turn_token!r}, at which the model's generation settings "
            f"do not stop (eos_token_id: {names}): pass eos_token_id={turn.end_of_turn_id} to "
            "generate, or answers go on"
        )


def _list_stop_ids(tokenizer: Any, model: Path) -> set[int]:
    """Return the ids at which ``generate`` stops by the model's files."""
    for name in ("generation_config.json", "config.json"):
        if (model / name).is_file():
            stops = read_json(model / name).get("eos_token_id")
            if stops is not None:
                return set(stops) if isinstance(stops, list) else {stops}
    return {tokenizer.eos_token_id} - {None}
