"""Tests of the sentences of a preview."""

from artifact_samples import client_token_counts, token_counts, tokenized_manifest

from blossomtune.reporting.preview import descriptions
from blossomtune.reporting.preview.view import MAX_CLIENTS, Preview, PreviewFile


def build(clients, external=(), shown=None):
    counts = [client_token_counts(i, rows=40, completion_tokens=10) for i in range(clients)]
    files = [PreviewFile(str(i), False, counts[i], []) for i in range(shown or clients)]
    return Preview({}, 42, tokenized_manifest(counts), external, files)


def test_clients_examples_and_the_share_of_learnt_tokens_are_given():
    assert descriptions.describe_examples(build(2)) == (
        "Two clients with 80 examples and 80 tokens, of which 25.0\u202f% are learnt."
    )


def test_without_rows_of_clients_there_is_no_share():
    preview = build(0, external=["north", "south"])
    assert descriptions.describe_examples(preview) == "The rows of the clients are not here."
    assert "elsewhere and not shown: north and south." in descriptions.describe_selection(preview)


def test_selection_of_clients_is_stated():
    text = descriptions.describe_selection(build(1000, shown=MAX_CLIENTS))
    assert text.startswith("Up to ten rows of each file: ")
    assert "seed 42." in text
    assert text.endswith("25 of 1,000 clients are shown, spread over their numbers.")


def test_dropped_and_truncated_rows_are_counted_with_the_reason():
    counts = token_counts(
        rows=7, dropped={"too_long": 1, "unrenderable": 1200}, truncated=3, longest=9
    )
    assert descriptions.describe_counts(counts) == (
        "7 examples, 7 tokens, 7 of them learnt, the longest has 9; one row dropped (too long), "
        "1,200 rows dropped (unrenderable), three rows truncated"
    )
    assert descriptions.describe_counts(token_counts()).endswith("; no row dropped or truncated")
