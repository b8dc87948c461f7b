import shutil

import pytest
from safetensors.torch import load_file, save_file

from blossomtune.data import fetch_model
from blossomtune.errors import UserError
from blossomtune.files import compute_file_sha256, read_json


def build(path, out):
    out.mkdir()
    return fetch_model.fetch_model(
        {"source": {"kind": "path", "path": str(path)}}, out
    ).model_dump()


@pytest.fixture
def copy(tiny_model, tmp_path):
    return shutil.copytree(tiny_model, tmp_path / "given")


def test_a_folder_becomes_a_plain_directory_with_provenance(tiny_model, tmp_path):
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


def test_shards_are_counted_together(copy, tmp_path):
    weights = load_file(copy / "model.safetensors")
    half = dict(list(weights.items())[::2])
    save_file(half, copy / "model-00001-of-00002.safetensors")
    rest = {k: v for k, v in weights.items() if k not in half}
    save_file(rest, copy / "model-00002-of-00002.safetensors")
    (copy / "model.safetensors").unlink()
    whole = sum(tensor.numel() for tensor in weights.values())
    assert build(copy, tmp_path / "out")["parameters"] == whole


def test_only_a_models_files_are_taken(copy, tmp_path):
    for name in ("pytorch_model.bin", "modeling_own.py"):
        (copy / name).write_text("not for us")
    (copy / "checkpoint-1").mkdir()
    provenance = build(copy, tmp_path / "out")
    assert not {"pytorch_model.bin", "modeling_own.py"} & set(provenance["files"])


def test_a_model_without_chat_template(copy, tmp_path):
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(UserError, match=r"has no chat template(.|\n)*chat_template\.jinja"):
        build(copy, tmp_path / "out")


def test_a_model_without_safetensors(copy, tmp_path):
    (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
    with pytest.raises(
        UserError, match=r"no config\.json with safetensors weights; it has: chat_t"
    ):
        build(copy, tmp_path / "out")


def test_a_model_without_tokenizer(copy, tmp_path):
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (copy / name).unlink()
    with pytest.raises(UserError, match="the model's tokenizer cannot be read"):
        build(copy, tmp_path / "out")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"source\.path: there is no folder '.*nowhere'"):
        build(tmp_path / "nowhere", tmp_path / "out")
