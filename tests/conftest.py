"""Fixtures of all tests."""

import gc
import itertools
import os
import shutil
import sys

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None)  # tests do not measure time
settings.load_profile("untimed")

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)

_test_numbers = itertools.count(1)


LONGEST_FILES = [
    *("test_membership.py", "test_resume.py", "test_export.py", "test_external.py"),
    *("test_faults.py", "test_slurm.py", "test_flower.py", "test_random_kills.py"),
    *("test_engines.py", "test_external_attacks.py", "test_many_supernodes.py"),
    *("test_full_disk.py", "test_wheel.py", "test_flooding.py", "test_workflow.py"),
]
"""Each would keep one worker busy after the others have ended, so they come first."""


def pytest_collection_modifyitems(items):
    """Start with the files that take longest; end with unit tests, whose files are short."""

    def get_priority(item):
        name = item.path.name
        position = LONGEST_FILES.index(name) if name in LONGEST_FILES else len(LONGEST_FILES)
        return position, "unit" in item.path.parts

    items.sort(key=get_priority)


def pytest_runtest_setup(item):
    """Skip tests of engines before their fixtures train, and keep collections of garbage short.

    Trainers collect garbage several times per round. That takes 0.4 s with all libraries, so what
    exists before a test, such as imported libraries, is left out.
    """
    needs_engine = item.get_closest_marker("engine") and "engine" in item.fixturenames
    if needs_engine and not os.environ.get("BLOSSOMTUNE_ENGINES"):
        pytest.skip("takes minutes; BLOSSOMTUNE_ENGINES names the engines to test")
    if next(_test_numbers) % 200 == 0:
        gc.unfreeze()
        gc.collect()
    gc.freeze()


PROGRAMS = {"slurm": "sbatch", "process": sys.executable, "simulation": sys.executable}


@pytest.fixture(scope="session")
def engine():
    """Return a function that skips a test unless its engine is selected, and returns the program.

    Tests with real engines take minutes. BLOSSOMTUNE_ENGINES selects engines, separated by
    commas. A selected engine that is not installed is a failure, not a skip.
    """
    selected = os.environ.get("BLOSSOMTUNE_ENGINES", "").split(",")

    def require(name: str) -> str:
        if name not in selected:
            pytest.skip(f"takes minutes; BLOSSOMTUNE_ENGINES={name} runs it with the real {name}")
        program = shutil.which(PROGRAMS.get(name, name))
        assert program, f"BLOSSOMTUNE_ENGINES names {name}, which is not installed"
        return program

    return require


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """Return a Hugging Face directory: 2-layer Llama of hidden size 32, bytes as tokens, ChatML."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from blossomtune.artifacts.checksums import write_checksums

    special = ["<pad>", "<|im_start|>", "<|im_end|>"]
    alphabet = special + sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE({token: i for i, token in enumerate(alphabet)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain,
        pad_token="<pad>",
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        chat_template=CHATML,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(alphabet),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=1024,
            initializer_range=0.3,  # large enough for different answers
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    directory = tmp_path_factory.mktemp("models") / "tiny"
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    write_checksums(directory, "fetch_model")
    return directory
