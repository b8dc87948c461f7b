"""Tests that schema and reference page match the code."""

import json
import typing
from pathlib import Path

import pytest
import yaml

from blossomtune.config.base import Block
from blossomtune.config.schema import render_json_schema
from blossomtune.config.strategies import STRATEGY_SETTINGS

CONFIG = Path(__file__).parents[3] / "config"


def list_subclasses(block):
    """Return all direct and indirect subclasses."""
    return [b for sub in block.__subclasses__() for b in (sub, *list_subclasses(sub))]


BLOCKS = list_subclasses(Block)


def test_schema_file_is_up_to_date():
    hint = (
        "run: PYTHONPATH=workflow_scripts python -m blossomtune.config.schema > config/schema.json"
    )
    assert (CONFIG / "schema.json").read_text(encoding="utf-8") == render_json_schema(), hint


def test_schema_has_all_blocks_and_forbids_unknown_keys():
    schema = json.loads(render_json_schema())
    assert schema["additionalProperties"] is False
    assert all(block["additionalProperties"] is False for block in schema["$defs"].values())
    assert {block.__name__ for block in BLOCKS} - schema["$defs"].keys() == {
        "Configuration",  # the top level
        "Partition",  # base classes
        "_ColumnPartition",
        "PypiSource",
    }


def test_default_configuration_names_its_schema():
    first = (CONFIG / "config.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=schema.json"
    assert yaml.safe_load((CONFIG / "config.yaml").read_text(encoding="utf-8")).keys() <= set(
        json.loads(render_json_schema())["properties"]
    )


def test_schema_has_strategies_by_name_and_as_blocks():
    schema = json.loads(render_json_schema())["$defs"]["FederationSettings"]["properties"][
        "strategy"
    ]
    by_name, as_block = schema["anyOf"]
    assert by_name["enum"] == list(STRATEGY_SETTINGS)
    assert as_block["discriminator"]["mapping"].keys() == STRATEGY_SETTINGS.keys()


def list_choices(annotation):
    """Return the allowed texts of a key, if only some are allowed."""
    arguments = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return [choice for choice in arguments if isinstance(choice, str)]
    return [choice for argument in arguments for choice in list_choices(argument)]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)
def test_reference_page_has_every_key_and_choice(block):
    text = (CONFIG.parent / "docs/configuration.md").read_text(encoding="utf-8")
    fields = block.model_fields
    choices = [c for field in fields.values() for c in list_choices(field.annotation)]
    assert [word for word in [*fields, *choices] if f"`{word}`" not in text] == []
