import json

import pytest
import torch
from merge_cases import CASES, write_case
from peft import PeftModel
from safetensors import safe_open
from transformers import AutoModelForCausalLM

from blossomtune.export.merged_weights import write_merged_weights
from blossomtune.modeling.empty_model import build_empty_model
from blossomtune.modeling.load import load_model
from blossomtune.modeling.merged_layers import attach_adapter
from blossomtune.modeling.safetensors_header import read_header
from blossomtune.modeling.weight_reader import WeightReader

CONFIGS = ("config.json", "generation_config.json")


def write(base, adapter, output):
    output.mkdir()
    empty = build_empty_model(base, torch.nan)
    weights = WeightReader(base, empty)
    write_merged_weights(attach_adapter(empty, adapter), weights, base, output)
    for name in CONFIGS:
        (output / name).write_bytes((base / name).read_bytes())
    return output


@pytest.mark.parametrize("name", CASES)
def test_weights_have_the_bits_of_a_merge_in_memory(name, tiny_model, tmp_path):
    base, adapter = write_case(name, tmp_path, tiny_model)
    written = load_model(write(base, adapter, tmp_path / "out"), torch.bfloat16).state_dict()
    before = load_model(base, torch.bfloat16).state_dict()
    merged = PeftModel.from_pretrained(load_model(base), adapter).merge_and_unload(safe_merge=True)
    expected = merged.to(torch.bfloat16).state_dict()
    assert written.keys() == expected.keys()
    assert [key for key in expected if not written[key].equal(expected[key])] == []
    assert [key for key in expected if not written[key].equal(before[key])]


@pytest.mark.parametrize("name", ["qwen3", "qwen3_moe", "gemma3-vision"])
def test_files_have_the_tensors_and_order_of_the_base(name, tiny_model, tmp_path):
    base, adapter = write_case(name, tmp_path, tiny_model)
    output = write(base, adapter, tmp_path / "out")
    files = sorted(path.name for path in base.glob("model*"))
    assert files == sorted(path.name for path in output.glob("model*"))
    assert len(files) > 2  # shards and their index
    for file in files:
        assert (output / file).stat().st_size == (base / file).stat().st_size
        if file.endswith(".safetensors"):
            assert read_header(output / file) == read_header(base / file)


def test_other_tensors_keep_their_own_dtype_and_bytes(tiny_model, tmp_path):
    base, adapter = write_case("llama", tmp_path, tiny_model, torch.float32)
    config = json.loads((base / "config.json").read_text()) | {"dtype": "bfloat16"}
    (base / "config.json").write_text(json.dumps(config))
    output = write(base, adapter, tmp_path / "out")
    for path in sorted(base.glob("*.safetensors")):
        with safe_open(path, "pt") as before, safe_open(output / path.name, "pt") as after:
            for key in before.keys():  # noqa: SIM118
                assert after.get_tensor(key).dtype == torch.float32
                is_target = "_proj" in key
                assert after.get_tensor(key).equal(before.get_tensor(key)) is not is_target


def test_transformers_reads_the_files(tiny_model, tmp_path):
    base, adapter = write_case("llama", tmp_path, tiny_model)
    output = write(base, adapter, tmp_path / "out")
    model, report = AutoModelForCausalLM.from_pretrained(
        output, dtype="auto", output_loading_info=True
    )
    assert model.dtype == torch.bfloat16
    assert not any(report.values())
