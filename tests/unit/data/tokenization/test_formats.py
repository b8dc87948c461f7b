"""Tests of row formats by configuration and columns."""

import pyarrow as pa
import pytest

from blossomtune.artifacts.tokenized_manifest import RowFormat
from blossomtune.config.preprocessing import PreprocessingSettings
from blossomtune.data.tokenization import formats
from blossomtune.errors import UserError

TEXT, NUMBER = pa.string(), pa.int64()
TEXTS, PAIRS = pa.list_(TEXT), pa.list_(pa.list_(TEXT))
TURNS = pa.list_(pa.struct([("role", TEXT), ("content", TEXT)]))


def resolve(columns, **settings):
    config = PreprocessingSettings.model_validate(settings).model_dump(mode="json")
    return formats.resolve_format(config, pa.schema(list(columns.items())))


@pytest.mark.parametrize(
    ("columns", "name", "used"),
    [
        ({"messages": TURNS}, "messages", {"messages": "messages"}),
        ({"conversations": TURNS, "text": TEXT}, "sharegpt", {"messages": "conversations"}),
        ({"conversations": TURNS, "messages": TURNS}, "messages", {"messages": "messages"}),
        ({"instruction": TEXT, "input": TEXT, "output": TEXT, "text": TEXT}, "alpaca", {}),
        (
            {"instruction": TEXT, "output": NUMBER, "history": PAIRS, "system": TEXT},
            "alpaca",
            {"history": "history", "system": "system"},
        ),
        ({"prompt": TEXT, "completion": TEXT, "text": TEXT}, "prompt_completion", {}),
        ({"id": NUMBER, "text": TEXT}, "text", {"text": "text"}),
        (
            {"prompt": TURNS, "completion": TURNS, "tools": TEXT},
            "prompt_completion",
            {"prompt": "prompt", "answer": "completion", "tools": "tools"},
        ),
        ({"input": TURNS, "ideal": TEXT}, "input_ideal", {"prompt": "input", "answer": "ideal"}),
        ({"input": TEXT, "ideal": TEXTS}, "input_ideal", {"prompt": "input", "answer": "ideal"}),
    ],
)
def test_format_is_detected_by_columns(columns, name, used):
    row_format = resolve(columns)
    assert (row_format.name, row_format.detected, row_format.columns) == (name, True, used)
    assert resolve(columns, shape=name) == row_format.model_copy(update={"detected": False})


def test_alpaca_format_has_default_templates():
    assert resolve({"instruction": TEXT, "input": TEXT, "output": TEXT}).model_dump() == {
        "name": "alpaca",
        "detected": True,
        "columns": {},
        "templates": {
            "prompt": "{{ instruction }}{% if input and input | trim %}\n\n{{ input }}{% endif %}",
            "completion": "{{ output }}",
        },
    }
    without_input = resolve({"instruction": TEXT, "output": TEXT}, system="Be brief.")
    assert without_input.templates == {
        "system": "Be brief.",
        "prompt": "{{ instruction }}",
        "completion": "{{ output }}",
    }


def test_configuration_overrides_detection():
    columns = {"messages": TURNS, "body": TEXT, "talk": TURNS, "chosen": TEXT, "rejected": TEXT}
    configured = resolve(columns, prompt="{{ body }}", completion="yes")
    assert (configured.name, configured.detected, configured.columns) == (
        "prompt_completion",
        False,
        {},
    )
    assert resolve(columns, text="{{ body }}") == RowFormat(
        name="text", detected=False, columns={}, templates={"text": "{{ body }}"}
    )
    assert resolve(columns, shape="sharegpt", column="talk").columns["messages"] == "talk"
    assert resolve(columns, shape="text", column="body").columns == {"text": "body"}


@pytest.mark.parametrize(
    ("columns", "settings", "message"),
    [
        (
            {"prompt": TEXT, "chosen": TEXT, "rejected": TEXT},
            {},
            "the rows are preference pairs (chosen and rejected), and preference tuning is not "
            "what this workflow does; columns: prompt, chosen, rejected\n"
            '  hint: completion: "{{ chosen }}" with a `prompt` trains on the preferred answer',
        ),
        (
            {"chosen": TURNS, "rejected": TURNS, "messages": TURNS},
            {},
            "the rows are preference pairs (chosen and rejected), and preference tuning is not "
            "what this workflow does; columns: chosen, rejected, messages\n"
            "  hint: shape: messages with column: chosen trains on the preferred answer",
        ),
        (
            {"question": TEXT, "answer": TEXT},
            {},
            "the columns are of no shape that is known; columns: question, answer\n"
            '  hint: say what the rows become with templates, such as prompt: "{{ question }}" and '
            'completion: "{{ answer }}", or text: "{{ body }}" for plain text; '
            "or name a column of conversations with `shape` and `column`",
        ),
        (
            {"text": TEXT},
            {"system": "Be brief."},
            "system: the rows are plain text, which has no turns\n"
            "  hint: leave `system` out, or write `prompt` and `completion`",
        ),
        (
            {"instruction": TEXT, "outputs": TEXT},
            {"shape": "alpaca"},
            "shape: alpaca: there is no column 'output'; did you mean 'outputs'? "
            "columns: instruction, outputs",
        ),
        (
            {"message": TURNS},
            {"shape": "messages"},
            "shape: messages: there is no column 'messages'; did you mean 'message'? "
            "columns: message",
        ),
        (
            {"messages": TURNS},
            {"shape": "messages", "column": "chat"},
            "column: there is no column 'chat'; columns: messages",
        ),
    ],
)
def test_unsuitable_columns_are_reported(columns, settings, message):
    with pytest.raises(UserError) as error:
        resolve(columns, **settings)
    assert str(error.value) == message
