"""Tests of what the head of a preview says."""

from artifact_samples import chat_template_use, client_token_counts, column_use, tokenized_manifest

from blossomtune.artifacts.tokenized_manifest import RowFormat
from blossomtune.reporting.preview.facts import list_facts


def test_columns_and_turn_fields_are_all_listed():
    shape = RowFormat(
        name="messages", detected=True, columns={"messages": "chat", "tools": "tools"}, templates={}
    )
    use = column_use(
        columns=["chat", "tools"],
        ignored_columns=["id", "source"],
        turn_fields=["chat.content", "chat.role"],
        ignored_turn_fields=["chat.date"],
    )
    facts = dict(list_facts(tokenized_manifest(shape=shape, column_use=use)))
    assert facts["shape"] == "messages, detected from the columns"
    assert facts["columns"] == "chat (as messages), tools"
    assert facts["ignored columns"] == "id, source"
    assert facts["turn fields"] == "chat.content, chat.role"
    assert facts["ignored turn fields"] == "chat.date"


def test_templates_come_in_the_order_of_a_conversation():
    templates = {"completion": "{{ c }}", "prompt": "{{ p }}", "system": "S"}
    shape = RowFormat(name="prompt_completion", detected=False, columns={}, templates=templates)
    facts = dict(list_facts(tokenized_manifest(shape=shape)))
    assert list(facts)[:4] == ["shape", "system", "prompt", "completion"]
    assert facts["shape"] == "prompt_completion"


def test_use_of_the_chat_template_is_listed_for_conversations():
    use = chat_template_use(
        arguments={"enable_thinking": False}, control_tokens="text", answer_prefix="<think>\n"
    )
    shape = RowFormat(name="messages", detected=True, columns={}, templates={})
    facts = dict(list_facts(tokenized_manifest(shape=shape, chat_template=use)))
    assert facts["template argument enable_thinking"] == "false"
    assert facts["answers begin with"] == "<think>\n"
    assert facts["turns end with"] == "<|im_end|>"
    assert facts["control tokens"] == "those in the text of rows are plain characters"
    assert "turns end with" not in dict(list_facts(tokenized_manifest(chat_template=use)))


def test_packing_counts_the_sequences_of_all_clients():
    clients = [client_token_counts(i, rows=9, packed=2) for i in range(2)]
    facts = dict(list_facts(tokenized_manifest(clients, packing=True)))
    assert facts["packing"].startswith("yes: four sequences;")
    assert dict(list_facts(tokenized_manifest()))["packing"].startswith("no:")
