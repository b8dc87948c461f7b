"""Write a Modelfile, from which Ollama creates a model."""

from itertools import chain

from blossomtune.artifacts.tokenized_manifest import TokenizedManifest
from blossomtune.errors import UserError
from blossomtune.export.turn_texts import TurnTexts, derive_turn_texts
from blossomtune.modeling.chat_template import ChatTemplate, find_end_of_turn

_QUOTES = '"""'


def render_modelfile(
    gguf_name: str, template: ChatTemplate, tokenized: TokenizedManifest, adds_bos: bool
) -> str:
    """Return a Modelfile with the chat template, stop tokens and system text of training.

    Args:
        gguf_name: Name of the GGUF file beside the Modelfile.
        template: The chat template, with the arguments of training.
        tokenized: Manifest of the tokenized rows.
        adds_bos: Whether llama.cpp adds BOS to a prompt, by the GGUF file.

    Returns:
        Text of the Modelfile.

    Raises:
        UserError: If a template of Ollama cannot write the same prompts.
    """
    texts = derive_turn_texts(template)
    notes, system = [], texts.default_system
    own_system = tokenized.shape.templates.get("system")
    if own_system and ("{{" in own_system or "{%" in own_system):
        notes.append("In training, each row had a system text of its own; send it with each chat.")
    elif own_system:
        system = own_system
    if system and "system" not in texts.around:
        raise UserError(
            "export.ollama: training wrote a system text, and the model's chat template has no "
            "system turn that Ollama could write",
            "leave ollama out, or write the text into preprocessing's prompt",
        )
    if texts.trims:
        notes.append("Send texts without white space around them: the model's template cuts it.")
    lines = [f"# {note}" for note in notes]
    lines += [f"FROM ./{gguf_name}", f"TEMPLATE {_quote(_render_go_template(texts, adds_bos))}"]
    lines += [f"SYSTEM {_quote(system)}"] if system else []
    lines += ["PARAMETER temperature 0"]
    lines += [
        f'PARAMETER stop "{token}"' for token in _list_stop_tokens(template, tokenized, texts)
    ]
    return "\n".join(lines) + "\n"


def _render_go_template(texts: TurnTexts, adds_bos: bool) -> str:
    """Return the texts around messages in the language of Go's text/template."""
    literals = [texts.bos, texts.generation_prompt, *chain(*texts.around.values())]
    if any("{{" in text for text in literals):
        raise UserError("export.ollama: the chat template writes '{{', which Ollama would evaluate")
    branches = [
        f'if eq .Role "{role}" }}}}{before}{{{{ .Content }}}}{after}'
        for role, (before, after) in sorted(texts.around.items())
    ]
    bos = "" if adds_bos else texts.bos
    messages = "{{ " + "{{ else ".join(branches) + "{{ end }}"
    return f"{bos}{{{{- range .Messages }}}}{messages}{{{{ end }}}}{texts.generation_prompt}"


def _list_stop_tokens(
    template: ChatTemplate, tokenized: TokenizedManifest, texts: TurnTexts
) -> list[str]:
    """Return the tokens that end the model's turn, and the one that starts a user's."""
    next_turn = find_end_of_turn(template.tokenizer, texts.around["user"][0])
    tokens = (tokenized.chat_template.end_of_turn, template.tokenizer.eos_token, next_turn)
    return list(dict.fromkeys(token for token in tokens if token))


def _quote(text: str) -> str:
    if _QUOTES in text or text.endswith('"'):
        raise UserError(f"export.ollama: a Modelfile cannot hold the text {text!r}")
    return f"{_QUOTES}{text}{_QUOTES}"
