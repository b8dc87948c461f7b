"""Exported files in llama.cpp: the default's model, and a tiny one with an unusual adapter."""

import copy
import itertools

import pyarrow as pa
import pytest
import torch
import yaml
from artifact_samples import tokenized_manifest
from checkout import CONFIG, copy_workflow
from random_adapter import add_random_adapter
from small_workflow import run_snakemake, write_config
from tiny_models import CHATML, build_byte_tokenizer
from tokenizers import pre_tokenizers
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from blossomtune.artifacts.files import write_artifact
from blossomtune.config.export import CONVERTER_SOURCE
from blossomtune.errors import UserError
from blossomtune.export.converter import fetch_converter
from blossomtune.export.export_formats import export_formats
from blossomtune.export.llama_cpp import LlamaCpp
from blossomtune.modeling.tokenizer import load_tokenizer

TEXTS = ["good 2024", "bad  7", "he said: no"]
MAX_NEW_TOKENS = 16

pytestmark = pytest.mark.engine


def generate(model, prompt):
    """Return transformers' greedy answer, with the token that ends it."""
    answer = model.generate(
        torch.tensor([prompt]), max_new_tokens=MAX_NEW_TOKENS, do_sample=False, pad_token_id=0
    )
    return answer[0, len(prompt) :].tolist()


def generate_batches(model, prompts, size=50):
    """Return transformers' greedy answers, generated in batches of prompts of similar lengths.

    The model reads the tokens that all prompts start with only once.
    """
    columns = zip(*(prompt[:-1] for prompt in prompts), strict=False)
    shared = itertools.takewhile(lambda tokens: len(set(tokens)) == 1, columns)
    prefix = [tokens[0] for tokens in shared]
    with torch.no_grad():
        prefix_cache = model(torch.tensor([prefix])).past_key_values
    answers = {}
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    for start in range(0, len(order), size):
        batch = order[start : start + size]
        width = len(prompts[batch[-1]])
        padding = [width - len(prompts[i]) for i in batch]
        rests = [prompts[i][len(prefix) :] for i in batch]
        rows = list(zip(padding, rests, strict=True))
        cache = copy.deepcopy(prefix_cache)
        cache.batch_repeat_interleave(len(batch))
        generated = model.generate(
            torch.tensor([prefix + [0] * n + rest for n, rest in rows]),
            attention_mask=torch.tensor(
                [[1] * len(prefix) + [0] * n + [1] * len(rest) for n, rest in rows]
            ),
            past_key_values=cache,
            max_new_tokens=MAX_NEW_TOKENS,
            do_sample=False,
            pad_token_id=0,
        )
        answers |= zip(batch, generated[:, width:].tolist(), strict=True)
    return [answers[i] for i in range(len(prompts))]


def load_rows(preprocessed):
    with pa.memory_map(str(preprocessed / "test.arrow")) as file:
        return pa.ipc.open_stream(file).read_all().to_pylist()


def compare_answers(results, counts):
    """Return answers of transformers and of llama.cpp to held-out prompts, and the right ones.

    ``counts`` has the number of prompts by type of the weights in llama.cpp's file.
    """
    experiment = results / "experiments/quickstart"
    rows = load_rows(results / "preprocessed/by-domain/sentiment/smollm2-135m-instruct")
    tokenizer = load_tokenizer(experiment / "merged")
    model = AutoModelForCausalLM.from_pretrained(experiment / "merged", dtype=torch.float32)
    prompts = [tokenizer(row["prompt"], add_special_tokens=False)["input_ids"] for row in rows]
    token_ids = {"transformers": generate_batches(model, prompts[: max(counts.values())])}
    for name, count in counts.items():
        llama = LlamaCpp(experiment / f"export/quickstart-{name}.gguf", context_length=512)
        token_ids[name] = [llama.answer(prompt, MAX_NEW_TOKENS) for prompt in prompts[:count]]
    answers = {
        name: [text.strip() for text in tokenizer.batch_decode(ids, skip_special_tokens=True)]
        for name, ids in token_ids.items()
    }
    return answers, [row["completion"].strip() for row in rows]


def test_files_of_the_default_answer_as_its_merged_model(engine, tmp_path):
    engine("simulation")
    copy_workflow(tmp_path)
    config = yaml.safe_load((tmp_path / CONFIG).read_text(encoding="utf-8"))
    experiment = config["experiments"]["quickstart"]
    experiment["federation"]["rounds"] = 2
    experiment["export"] = {"gguf": ["f16", "q8_0"], "adapter_gguf": True, "ollama": True}
    write_config(tmp_path, config)
    run_snakemake(tmp_path, "results/experiments/quickstart/export")
    # 100 answers cannot tell a point from chance: two of them may change with the processor
    num_answers, num_rows = 100, 1000
    counts = {"f16": num_answers, "q8_0": num_rows}
    answers, expected = compare_answers(tmp_path / "results", counts)
    assert len(expected) == num_rows

    def count(name, others):
        return sum(a == b for a, b in zip(answers[name], others, strict=True))

    assert len(set(answers["transformers"])) > 1
    assert count("f16", answers["transformers"][:num_answers]) >= 98
    assert abs(count("q8_0", expected) - count("transformers", expected)) <= num_rows // 100


@pytest.fixture(scope="module")
def converter(engine, tmp_path_factory):
    engine("simulation")
    folder = tmp_path_factory.mktemp("converter")
    fetch_converter(CONVERTER_SOURCE.model_dump(mode="json"), folder)
    return folder


@pytest.fixture
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


@pytest.fixture
def base(tokenizer, tmp_path):
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
    LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def preprocessed(tokenizer, tmp_path):
    messages = [[{"role": "user", "content": text}] for text in TEXTS]
    prompts = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    table = pa.table({"prompt": prompts, "completion": ["yes"] * len(TEXTS)})
    with pa.ipc.new_stream(str(tmp_path / "test.arrow"), table.schema) as stream:
        stream.write_table(table)
    write_artifact(tmp_path / "manifest.json", tokenized_manifest())
    return tmp_path


def save_adapter(model, folder):
    """Write an adapter with a scaling of its own in one layer; return the adapted model."""
    settings = {"alpha_pattern": {"model.layers.0.self_attn.q_proj": 16}, "use_rslora": True}
    adapted = add_random_adapter(model, **settings)
    adapted.save_pretrained(folder)
    return adapted


def test_adapter_file_answers_as_peft_and_bytes_repeat(converter, tokenizer, base, preprocessed):
    model = LlamaForCausalLM.from_pretrained(base)
    prompts = [tokenizer(row["prompt"])["input_ids"] for row in load_rows(preprocessed)[:3]]
    without_adapter = [generate(model, prompt) for prompt in prompts]
    adapted = save_adapter(model, preprocessed / "adapter")
    with_adapter = [generate(adapted, prompt) for prompt in prompts]
    config = {"gguf": ["f32"], "adapter_gguf": True, "ollama": True, "experiment": "trial"}
    contents = []
    for name in ("out", "again"):
        output = preprocessed / name
        output.mkdir()
        export_formats(config, converter, base, preprocessed / "adapter", preprocessed, output)
        contents.append({file.name: file.read_bytes() for file in output.iterdir()})
    files = {"trial-f32.gguf", "trial-adapter-f32.gguf", "Modelfile"}
    assert contents[0] == contents[1]
    assert contents[0].keys() == files
    assert not any(str(preprocessed).encode() in content for content in contents[0].values())
    file = output / "trial-f32.gguf"
    for adapter, expected in ((None, without_adapter), ("trial-adapter-f32.gguf", with_adapter)):
        llama = LlamaCpp(file, adapter and output / adapter, context_length=256)
        assert [llama.answer(prompt, MAX_NEW_TOKENS) for prompt in prompts] == expected
    assert with_adapter != without_adapter


def test_tokenizer_without_a_name_in_llama_cpp_is_refused(converter, base, preprocessed, tokenizer):
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(use_regex=False)
    tokenizer.save_pretrained(base)
    config = {"gguf": ["f16"], "adapter_gguf": False, "ollama": False, "experiment": "trial"}
    (preprocessed / "out").mkdir()
    with pytest.raises(UserError, match=r"llama\.cpp has no name for the pre-tokenizer"):
        export_formats(config, converter, base, base, preprocessed, preprocessed / "out")
