"""The configuration reference and the schema it is generated from."""

import pytest
from markdown_pages import ROOT

from blossomtune.config.reference import Configuration, reference

COMMAND = "PYTHONPATH=workflow_scripts python -m blossomtune.config.reference"
SCHEMA = Configuration.model_json_schema()
BLOCKS = {"Configuration": SCHEMA, **SCHEMA["$defs"]}


def keys():
    """Yield every key: its block, its name and its schema."""
    for block, schema in BLOCKS.items():
        for key, field in schema["properties"].items():
            if not (schema.get("description") and "const" in field):  # names the kind of block
                yield block, key, field


def test_reference_page_is_current():
    page = (ROOT / "docs/configuration.md").read_text(encoding="utf-8")
    assert page == reference(), f"run: {COMMAND} > docs/configuration.md"


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_has_a_description(block):
    assert BLOCKS[block].get("description", "").endswith(".")


def test_every_key_has_a_description_that_is_a_sentence():
    bad = [f"{b}.{k}" for b, k, field in keys() if not field.get("description", "").endswith(".")]
    assert bad == []


def test_reference_lists_every_key():
    page = reference()
    assert [f"{block}.{key}" for block, key, _ in keys() if f"| `{key}` |" not in page] == []
