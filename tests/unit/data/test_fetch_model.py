"""Tests of fetching models."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from blossomtune.data import fetch_model
from blossomtune.errors import UserError
from blossomtune.files import compute_file_sha256, read_json
from blossomtune.modeling.load import load_model
from blossomtune.modeling.tokenizer import load_tokenizer


def build(path, out):
    out.mkdir()
    config = {"source": {"kind": "path", "path": str(path)}}
    return fetch_model.fetch_model(config, out).model_dump()


@pytest.fixture
def model_copy(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "source")


def test_folder_is_copied_with_provenance(tiny_model, tmp_path):
    out = tmp_path / "out"
    provenance = build(tiny_model, out)
    assert provenance == read_json(out / "provenance.json")
    assert provenance["revision"] is None
    assert provenance["files"]["model.safetensors"] == compute_file_sha256(
        tiny_model / "model.safetensors"
    )
    weights = load_file(out / "model.safetensors")
    assert provenance["parameters"] == sum(tensor.numel() for tensor in weights.values())
    assert oct((out / "model.safetensors").stat().st_mode)[-3:] == "644"


def test_home_folder_is_read_and_not_recorded(model_copy, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    build("~/source", tmp_path / "out")
    provenance = (tmp_path / "out" / "provenance.json").read_text()
    assert '"~/source"' in provenance
    assert str(tmp_path) not in provenance


def test_parameters_of_all_shards_are_counted(model_copy, tmp_path):
    weights = load_file(model_copy / "model.safetensors")
    half = dict(list(weights.items())[::2])
    save_file(half, model_copy / "model-00001-of-00002.safetensors")
    rest = {k: v for k, v in weights.items() if k not in half}
    save_file(rest, model_copy / "model-00002-of-00002.safetensors")
    (model_copy / "model.safetensors").unlink()
    total = sum(tensor.numel() for tensor in weights.values())
    assert build(model_copy, tmp_path / "out")["parameters"] == total


def test_shards_are_copied_as_they_are(tiny_model, tmp_path):
    """Weights in bfloat16 stay so: nothing is loaded and saved again."""
    source = tmp_path / "source"
    load_model(tiny_model, torch.bfloat16).save_pretrained(source, max_shard_size="20KB")
    load_tokenizer(tiny_model).save_pretrained(source)
    build(source, tmp_path / "out")
    shards = sorted(path.name for path in source.glob("*.safetensors*"))
    assert len(shards) > 3
    assert all((source / n).read_bytes() == (tmp_path / "out" / n).read_bytes() for n in shards)


def test_only_model_files_are_copied(model_copy, tmp_path):
    for name in ("pytorch_model.bin", "modeling_own.py"):
        (model_copy / name).write_text("not for us")
    (model_copy / "checkpoint-1").mkdir()
    provenance = build(model_copy, tmp_path / "out")
    assert not {"pytorch_model.bin", "modeling_own.py"} & set(provenance["files"])


def test_model_without_chat_template_is_rejected(model_copy, tmp_path):
    (model_copy / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match=r"has no chat template(.|\n)*chat_template\.jinja"):
        build(model_copy, tmp_path / "out")


def test_model_without_safetensors_is_rejected(model_copy, tmp_path):
    (model_copy / "model.safetensors").rename(model_copy / "pytorch_model.bin")
    message = r"no config\.json with safetensors weights; it has: chat_t"
    with pytest.raises(UserError, match=message):
        build(model_copy, tmp_path / "out")


def test_model_without_tokenizer_is_rejected(model_copy, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (model_copy / name).unlink()
    with pytest.raises(UserError, match="the model's tokenizer cannot be read"):
        build(model_copy, tmp_path / "out")


def change_config(model, **values):
    config = read_json(model / "config.json") | values
    (model / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("method", ["gptq", "bitsandbytes", "fp8"])
def test_quantized_model_is_rejected(model_copy, tmp_path, method):
    change_config(model_copy, quantization_config={"quant_method": method, "bits": 4})
    message = rf"quantized \({method}\)(.|\n)*original weights"
    with pytest.raises(UserError, match=message):
        build(model_copy, tmp_path / "out")


def test_model_that_generates_no_text_is_rejected(model_copy, tmp_path):
    change_config(model_copy, model_type="t5")
    with pytest.raises(UserError, match=r"no causal language model.*'t5'"):
        build(model_copy, tmp_path / "out")


def test_unknown_architecture_is_rejected(model_copy, tmp_path):
    change_config(model_copy, model_type="nobody_knows")
    with pytest.raises(UserError, match=r"config\.json cannot be read: .*nobody_knows"):
        build(model_copy, tmp_path / "out")


def test_missing_folder_is_rejected(tmp_path):
    with pytest.raises(UserError, match=r"source\.path: there is no folder '.*nowhere'"):
        build(tmp_path / "nowhere", tmp_path / "out")
