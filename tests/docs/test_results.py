"""The page on results describes every field of the files that stages exchange."""

import importlib
import pkgutil

import pytest
from pages import ROOT
from pydantic import BaseModel

from blossomtune import artifacts

INTERNAL = {"adapter_config"}  # PEFT's file, described by PEFT
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
