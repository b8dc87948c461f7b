"""Tests of the converter's check of architectures; conversion itself is tested in tests/e2e."""

import pytest

from blossomtune.errors import UserError
from blossomtune.export.converter import require_architecture
from blossomtune.files import write_json


def test_unknown_architecture_is_refused(tiny_model, tmp_path):
    (tmp_path / "conversion").mkdir()
    known = 'TEXT_MODEL_MAP: dict[str, str] = {"LlamaForCausalLM": "llama"}\nprint(1 / 0)\n'
    (tmp_path / "conversion/__init__.py").write_text(known)
    require_architecture(tmp_path, tiny_model)
    write_json(tmp_path / "config.json", {"architectures": ["Llama9ForCausalLM"]})
    with pytest.raises(UserError, match="does not know the architecture Llama9"):
        require_architecture(tmp_path, tmp_path)
