import pytest
import torch
from merge_cases import build_any_model
from safetensors.torch import load_file, save_file
from tiny_architectures import save_model

from blossomtune.modeling.empty_model import build_empty_model
from blossomtune.modeling.load import load_model
from blossomtune.modeling.weight_reader import (
    WeightReader,
    find_weights_dtype,
    list_weight_files,
)


@pytest.fixture
def write_model(tiny_model, tmp_path):
    def write(name, **arguments):
        return save_model(build_any_model(name), tmp_path / "model", tiny_model, **arguments)

    return write


@pytest.mark.parametrize("name", ["qwen3", "qwen3_moe", "hrm_text", "gemma3-vision"])
def test_weights_are_those_of_a_loaded_model(write_model, name):
    directory = write_model(name)
    weights = WeightReader(directory, build_empty_model(directory, torch.nan))
    state = load_model(directory).state_dict()
    assert [key for key, value in state.items() if not weights.read(key).equal(value)] == []
    assert "lm_head.bias" not in weights


@pytest.mark.parametrize("name", ["qwen3", "qwen3_moe", "hrm_text", "gemma3-vision"])
def test_parameters_are_converted_to_stored_tensors(write_model, name):
    directory = write_model(name)
    weights = WeightReader(directory, build_empty_model(directory, torch.nan))
    stored = load_file(directory / "model.safetensors")
    state = load_model(directory).state_dict()
    converted = {}
    for key, value in state.items():
        converted |= weights.to_stored({key: value})
    assert converted.keys() == stored.keys()
    assert all(value.equal(stored[key]) for key, value in converted.items())


def test_names_may_lack_the_prefix_of_the_language_model(write_model):
    directory = write_model("gpt2")
    path = directory / "model.safetensors"
    tensors = {key.removeprefix("transformer."): value for key, value in load_file(path).items()}
    save_file(tensors, path, {"format": "pt"})
    weights = WeightReader(directory, build_empty_model(directory, torch.nan))
    name = "transformer.h.0.attn.c_attn.weight"
    assert weights.read(name).equal(load_model(directory).get_parameter(name))
    assert list(weights.to_stored({name: weights.read(name)})) == ["h.0.attn.c_attn.weight"]


def test_files_are_those_that_transformers_loads(write_model):
    directory = write_model("llama", max_shard_size="40KB")
    names = [path.name for path in list_weight_files(directory)]
    assert len(names) > 1
    save_file({"w": torch.zeros(1)}, directory / "consolidated.safetensors")
    assert [path.name for path in list_weight_files(directory)] == names
    save_file({"w": torch.zeros(1)}, directory / "model.safetensors")
    assert [path.name for path in list_weight_files(directory)] == ["model.safetensors"]


def test_dtype_is_that_of_most_weights(tmp_path):
    tensors = {"a": torch.zeros(9).bfloat16(), "b": torch.zeros(2), "c": torch.zeros(99).long()}
    save_file(tensors, tmp_path / "model.safetensors")
    assert find_weights_dtype(tmp_path) == torch.bfloat16
