"""Tests of the exported formats, by llama.cpp's converter and llama.cpp."""

import gguf
import pyarrow as pa
import pytest
import torch
from artifact_samples import tokenized_manifest
from peft import LoraConfig, get_peft_model
from tiny_models import CHATML, build_byte_tokenizer
from tokenizers import pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM

from blossomtune.artifacts.files import write_artifact
from blossomtune.config.export import CONVERTER_SOURCE
from blossomtune.export.converter import fetch_converter
from blossomtune.export.export_formats import export_formats
from blossomtune.export.llama_cpp import LlamaCpp

TEXTS = ["good 2024", "bad  7", "he said: no"]


@pytest.fixture(scope="module")
def converter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("converter")
    fetch_converter(CONVERTER_SOURCE.model_dump(mode="json"), folder)
    return folder


@pytest.fixture(scope="module")
def tokenizer():
    """Return a tokenizer of bytes and a merge, which llama.cpp needs, that splits digits."""
    special = ["<|im_start|>"]
    tokenizer = build_byte_tokenizer(CHATML, None, "<|im_end|>", special, merges=[("h", "e")])
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    return tokenizer


@pytest.fixture(scope="module")
def base(tokenizer, tmp_path_factory):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        initializer_range=0.3,
        eos_token_id=0,
    )
    folder = tmp_path_factory.mktemp("base") / "base"
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def preprocessed(tokenizer, tmp_path):
    messages = [[{"role": "user", "content": text}] for text in TEXTS]
    prompts = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    table = pa.table({"prompt": prompts, "completion": ["yes"] * len(TEXTS)})
    with pa.ipc.new_stream(str(tmp_path / "test.arrow"), table.schema) as stream:
        stream.write_table(table)
    write_artifact(tmp_path / "manifest.json", tokenized_manifest())
    return tmp_path, prompts


def generate(model, prompt, max_new_tokens):
    answer = model.generate(torch.tensor([prompt]), max_new_tokens=max_new_tokens, do_sample=False)
    return answer[0, len(prompt) :].tolist()


def test_files_answer_as_the_model(converter, tokenizer, base, preprocessed, tmp_path):
    folder, prompts = preprocessed
    targets = ["q_proj", "down_proj"]
    settings = {"alpha_pattern": {"model.layers.0.self_attn.q_proj": 16}, "use_rslora": True}
    lora = LoraConfig(r=4, lora_alpha=8, target_modules=targets, **settings)
    model = LlamaForCausalLM.from_pretrained(base)
    token_ids = [tokenizer(prompt)["input_ids"] for prompt in prompts]
    expected = [generate(model, ids, 8) for ids in token_ids]
    adapted = get_peft_model(model, lora)
    for name, tensor in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(tensor, std=0.3)
    adapted.save_pretrained(tmp_path / "adapter")
    output = tmp_path / "out"
    output.mkdir()
    config = {"gguf": ["f32"], "adapter_gguf": True, "ollama": True, "experiment": "trial"}

    export_formats(config, converter, base, tmp_path / "adapter", folder, output)
    names = {"trial-f32.gguf", "trial-adapter-f32.gguf", "Modelfile"}
    assert {file.name for file in output.iterdir()} == names
    llama = LlamaCpp(output / "trial-f32.gguf", context_length=256)
    assert [llama.answer(ids, 8) for ids in token_ids] == expected
    llama = LlamaCpp(output / "trial-f32.gguf", output / "trial-adapter-f32.gguf", 256)
    with_adapter = [generate(adapted, ids, 8) for ids in token_ids]
    assert [llama.answer(ids, 8) for ids in token_ids] == with_adapter != expected
    for file in output.glob("*.gguf"):
        fields = gguf.GGUFReader(file).fields
        content = {
            key: str(field.contents())
            for key, field in fields.items()
            if "tokenizer.ggml.t" not in key
        }
        print(content)
        assert str(tmp_path) not in str(content)
    print((output / "Modelfile").read_text())
