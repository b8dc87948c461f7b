"""Tests of Modelfiles for Ollama."""

import pytest
from artifact_samples import chat_template_use, tokenized_manifest
from chat_families import FAMILIES, build_tokenizer

from blossomtune.errors import UserError
from blossomtune.export.modelfile import render_modelfile
from blossomtune.modeling.chat_template import ChatTemplate

QWEN = '''FROM ./a-q8_0.gguf
TEMPLATE """{{- range .Messages }}{{ if eq .Role "assistant" }}<|im_start|>assistant
{{ .Content }}<|im_end|>
{{ else if eq .Role "system" }}<|im_start|>system
{{ .Content }}<|im_end|>
{{ else if eq .Role "user" }}<|im_start|>user
{{ .Content }}<|im_end|>
{{ end }}{{ end }}<|im_start|>assistant
"""
SYSTEM """You are a helpful assistant."""
PARAMETER temperature 0
PARAMETER stop "<|im_end|>"
PARAMETER stop "<|im_start|>"
'''


def render(name, system=None, adds_bos=False):
    family = FAMILIES[name]
    use = chat_template_use(end_of_turn=family.end_tokens[0])
    manifest = tokenized_manifest(chat_template=use)
    if system is not None:
        shape = manifest.shape.model_copy(update={"templates": {"system": system}})
        manifest = manifest.model_copy(update={"shape": shape})
    template = ChatTemplate(build_tokenizer(name), family.arguments)
    return render_modelfile("a-q8_0.gguf", template, manifest, adds_bos=adds_bos)


def test_modelfile_has_template_default_system_text_and_stop_tokens():
    assert render("qwen2_5") == QWEN


def test_system_text_of_training_replaces_the_default():
    assert 'SYSTEM """Be brief."""\n' in render("qwen2_5", system="Be brief.")


def test_system_text_that_differs_by_row_is_a_note():
    text = render("qwen2_5", system="You know {{ topic }}.")
    assert text.startswith("# In training, each row had a system text of its own")
    assert 'SYSTEM """You are a helpful assistant."""\n' in text


def test_bos_is_left_to_llama_cpp_where_it_adds_one():
    assert '"""<bos>{{- range' in render("gemma2", adds_bos=False)
    assert '"""{{- range' in (text := render("gemma2", adds_bos=True))
    assert "# Send texts without white space around them" in text
    assert 'PARAMETER stop "<end_of_turn>"\nPARAMETER stop "<eos>"\n' in text


def test_system_text_without_a_system_turn_is_refused():
    with pytest.raises(UserError, match="no system turn that Ollama could write"):
        render("gemma2", system="Be brief.")


def test_text_that_a_modelfile_cannot_quote_is_refused():
    with pytest.raises(UserError, match="a Modelfile cannot hold the text"):
        render("qwen2_5", system='Say """.')
