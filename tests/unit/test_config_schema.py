"""What people and editors read about the configuration is in step with the code."""

import json
import typing
from pathlib import Path

import pytest
import yaml

from blossomtune.config.base import Block
from blossomtune.config.schema import render_json_schema
from blossomtune.config.strategies import STRATEGY_SETTINGS

CONFIG = Path(__file__).parents[2] / "config"


def below(block):
    """All classes that are made of one."""
    return [b for sub in block.__subclasses__() for b in (sub, *below(sub))]


BLOCKS = below(Block)


def test_the_schema_is_the_code_s():
    hint = (
        "run: PYTHONPATH=workflow_scripts python -m blossomtune.config.schema > config/schema.json"
    )
    assert (CONFIG / "schema.json").read_text(encoding="utf-8") == render_json_schema(), hint


def test_the_schema_knows_unknown_keys_and_all_kinds():
    known = json.loads(render_json_schema())
    assert known["additionalProperties"] is False
    assert all(block["additionalProperties"] is False for block in known["$defs"].values())
    assert {block.__name__ for block in BLOCKS} - known["$defs"].keys() == {
        "Configuration",  # the top of it
        "Partition",  # classes of which others are made
        "_ColumnPartition",
        "PypiSource",
    }


def test_editors_find_the_schema():
    first = (CONFIG / "config.yaml").read_text(encoding="utf-8").splitlines()[0]
    assert first == "# yaml-language-server: $schema=schema.json"
    assert yaml.safe_load((CONFIG / "config.yaml").read_text(encoding="utf-8")).keys() <= set(
        json.loads(render_json_schema())["properties"]
    )


def test_editors_complete_a_strategy_by_name_and_as_a_block():
    known = json.loads(render_json_schema())["$defs"]["FederationSettings"]["properties"][
        "strategy"
    ]
    by_name, as_block = known["anyOf"]
    assert by_name["enum"] == list(STRATEGY_SETTINGS)
    assert as_block["discriminator"]["mapping"].keys() == STRATEGY_SETTINGS.keys()


def words(annotation):
    """The texts that a key may be, where only some are allowed."""
    inside = typing.get_args(annotation)
    if typing.get_origin(annotation) is typing.Literal:
        return [word for word in inside if isinstance(word, str)]
    return [word for part in inside for word in words(part)]


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.__name__)
def test_every_key_and_every_word_that_it_may_be_is_explained_to_people(block):
    text = (CONFIG.parent / "docs/configuration.md").read_text(encoding="utf-8")
    fields = block.model_fields
    said = [*fields, *(word for field in fields.values() for word in words(field.annotation))]
    assert [word for word in said if f"`{word}`" not in text] == []
