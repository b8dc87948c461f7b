"""The page on results describes every field of the files that stages exchange."""

import importlib
import pkgutil
from pathlib import Path

import pytest
from markdown_pages import ROOT
from pydantic import BaseModel

from blossomtune import artifacts
from blossomtune.artifacts.schemas import write_schemas

INTERNAL = {"adapter_config", "checkpoint_record", "progress", "tracked_run"}
"""PEFT's file, and no files between stages."""
MODULES = [m.name for m in pkgutil.iter_modules(artifacts.__path__) if m.name not in INTERNAL]


def fields(module):
    """Yield every field of a module's models, with the name of its model."""
    for model in vars(importlib.import_module(f"{artifacts.__name__}.{module}")).values():
        if isinstance(model, type) and issubclass(model, BaseModel):
            yield from ((model.__name__, name) for name in model.model_fields)


@pytest.mark.parametrize("module", MODULES)
def test_every_field_of_an_artifact_is_described(module):
    page = (ROOT / "docs/results.md").read_text(encoding="utf-8")
    assert [f"{model}.{name}" for model, name in fields(module) if f"`{name}`" not in page] == []


def test_schemas_are_current(tmp_path):
    def read(folder: Path):
        return {file.name: file.read_text(encoding="utf-8") for file in folder.iterdir()}

    write_schemas(tmp_path)
    assert read(ROOT / "docs/schemas") == read(tmp_path), "run: make docs"
