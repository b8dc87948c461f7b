import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import Linear
from tiny_architectures import build_vision_model, save_model
from transformers import AutoModelForCausalLM, AutoTokenizer

from blossomtune.artifacts.checksums import write_checksums
from blossomtune.config.lora import LoraSettings
from blossomtune.export import merged_weights
from blossomtune.export.merge import MergeError, load_test_prompts, merge_adapter
from blossomtune.export.model_card import render_model_card
from blossomtune.modeling.load import load_model
from blossomtune.training.adapter import (
    build_peft_model,
    get_adapter_state,
    get_excluded_modules,
)
from blossomtune.training.adapter_files import save_adapter

SCRIPT = Path(__file__).parents[3] / "workflow_scripts/merge.py"
PROMPTS = [[1, 7, 8, 9], [1, 7, 8, 10, 11, 12]]


@torch.inference_mode()
def compute_logits(model):
    return model(input_ids=torch.tensor([PROMPTS[1]])).logits


def merge(model_dir, adapter_dir, tmp_path):
    output_dir = tmp_path / "merged"
    output_dir.mkdir()
    merge_adapter(model_dir, adapter_dir, PROMPTS, output_dir)
    return output_dir


def test_merged_model_has_the_logits_of_base_and_adapter(tiny_model, adapter_dir, tmp_path):
    output_dir = merge(tiny_model, adapter_dir, tmp_path)
    base = compute_logits(load_model(tiny_model))
    expected = compute_logits(PeftModel.from_pretrained(load_model(tiny_model), adapter_dir).eval())
    merged = AutoModelForCausalLM.from_pretrained(output_dir, dtype="auto")
    assert torch.allclose(compute_logits(merged), expected, atol=1e-3)
    assert (base - expected).abs().max() > 1  # the adapter has a large effect
    check = json.loads((output_dir / "merge.json").read_text())
    assert check.pop("largest_logit_difference") < check["tolerance"] == 1e-3
    expected = {"tolerance": 1e-3, "prompts": 2, "precision": "float32", "schema_version": 1}
    assert check == expected
    assert AutoTokenizer.from_pretrained(output_dir).chat_template


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_merged_model_has_the_dtype_of_its_base(tiny_model, adapter_dir, tmp_path, dtype):
    half = tmp_path / "half"
    load_model(tiny_model, dtype=dtype).save_pretrained(half)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(half)
    output_dir = merge(half, adapter_dir, tmp_path)
    assert AutoModelForCausalLM.from_pretrained(output_dir, dtype="auto").dtype == dtype


def test_merged_model_reads_images_as_its_base(tiny_model, tmp_path):
    model = save_model(build_vision_model("gemma3-vision"), tmp_path / "base", tiny_model)
    processor = {
        "image_processor_type": "Gemma3ImageProcessor",
        "size": {"height": 16, "width": 16},
    }
    (model / "preprocessor_config.json").write_text(json.dumps(processor))
    base, lora = load_model(model), LoraSettings(r=2, target_modules="all-linear")
    before = {name: value.clone() for name, value in base.state_dict().items()}
    peft_model = build_peft_model(base, lora, seed=1)
    state = {n: torch.randn_like(value) / 4 for n, value in get_adapter_state(peft_model).items()}
    excluded = get_excluded_modules(peft_model)
    save_adapter(state, lora, "base", tmp_path / "adapter", exclude_modules=excluded)
    output_dir = merge(model, tmp_path / "adapter", tmp_path)
    after = load_model(output_dir).state_dict()
    assert after.keys() == before.keys()
    changed = {name for name, value in before.items() if not after[name].equal(value)}
    assert changed
    assert all(name.startswith("model.language_model.layers.") for name in changed)
    assert json.loads((output_dir / "preprocessor_config.json").read_text()) == processor


def test_wrong_sum_is_an_error(tiny_model, adapter_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(Linear, "merge", lambda self, **_: self.merged_adapters.append("default"))
    with pytest.raises(MergeError, match=r"differ by up to .* on 2 held-out prompts; 0.001"):
        merge(tiny_model, adapter_dir, tmp_path)


def test_weights_that_are_not_written_are_an_error(tiny_model, adapter_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(merged_weights, "iter_merged_layers", lambda *_: iter([]))
    with pytest.raises(MergeError, match=r"differ by up to .* on 2 held-out prompts; 0.001"):
        merge(tiny_model, adapter_dir, tmp_path)


def test_prompts_end_where_the_completion_starts(inputs, tiny_model):
    tokenizer = AutoTokenizer.from_pretrained(tiny_model)
    texts = [tokenizer.decode(ids) for ids in load_test_prompts(inputs["preprocessed"])]
    assert [text.endswith("<|im_start|>assistant\n") for text in texts] == [True, True]


@pytest.fixture
def two_threads():
    """Use as many threads as the script."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(num_threads)


def test_script_writes_the_same_bytes_again(
    model_dir, adapter_dir, inputs, merge_config, tmp_path, two_threads
):
    output = tmp_path / "from the script"
    paths = {"model": model_dir, "adapter": adapter_dir, **inputs, "output": output}
    for stage in ("model", "adapter", "preprocessed", "dataset"):
        write_checksums(paths[stage], stage)
    command = [sys.executable, SCRIPT, "--config", json.dumps(merge_config)]
    command += [str(arg) for key, path in paths.items() for arg in (f"--{key}", path)]
    subprocess.run(command, check=True, capture_output=True)

    again = tmp_path / "again"
    again.mkdir()
    merge_adapter(model_dir, adapter_dir, load_test_prompts(inputs["preprocessed"]), again)
    card = render_model_card(merge_config, model_dir, adapter_dir, **inputs)
    (again / "README.md").write_text(card)
    contents = {file.name: file.read_bytes() for file in output.iterdir()}
    assert contents == {file.name: file.read_bytes() for file in again.iterdir()}
    assert {"README.md", "merge.json", "model.safetensors"} <= set(contents)
    assert not any(str(tmp_path).encode() in content for content in contents.values())
