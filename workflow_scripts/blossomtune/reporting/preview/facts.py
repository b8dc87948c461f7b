"""Describe in words what the manifest says about the rows."""

from collections.abc import Iterator

from blossomtune.artifacts.tokenized_manifest import TokenCounts
from blossomtune.reporting import formatting
from blossomtune.reporting.preview.select_rows import MAX_ROWS
from blossomtune.reporting.preview.view import MAX_CLIENTS, Preview, PreviewRow

_TEMPLATE_KEYS = ("system", "prompt", "completion", "text")


def describe_rows(preview: Preview) -> str:
    """Return a sentence with the number of clients, rows, and learnt tokens."""
    counts = preview.manifest.clients
    tokens = sum(c.tokens for c in counts)
    learnt = sum(c.completion_tokens for c in counts)
    clients = formatting.capitalize_first(formatting.format_amount(len(counts), "client"))
    rows = formatting.format_amount(sum(c.rows for c in counts), "row")
    sentence = f"{clients} with {rows} and {formatting.format_count(tokens)} tokens"
    share = f", of which {formatting.format_percent(learnt / tokens, 1)} are learnt"
    return f"{sentence}{share if tokens else ''}."


def describe_selection(preview: Preview) -> str:
    """Return how the rows of the preview were selected."""
    text = (
        f"Up to {formatting.spell_number(MAX_ROWS)} rows of each file: the shortest and the "
        "longest, those with the fewest and the most learnt tokens, and others drawn over all "
        f"lengths with seed {preview.seed}."
    )
    if len(preview.manifest.clients) > preview.num_shown_clients:
        clients = formatting.format_count(len(preview.manifest.clients))
        text += f" {MAX_CLIENTS} of {clients} clients are shown, spread over their numbers."
    if preview.external_clients:
        names = formatting.join_list(list(preview.external_clients))
        text += f" The rows of other clients are elsewhere and not shown: {names}."
    return text


def list_facts(preview: Preview) -> Iterator[tuple[str, str]]:
    """Yield name and value of what the manifest says about all rows."""
    manifest = preview.manifest
    shape = manifest.shape
    yield "shape", shape.name + (", detected from the columns" if shape.detected else "")
    if shape.column:
        yield "column", shape.column
    yield from ((key, shape.templates[key]) for key in _TEMPLATE_KEYS if key in shape.templates)
    yield "at most", f"{formatting.format_count(manifest.max_length)} tokens per example"
    yield "packing", describe_packing(preview)


def describe_packing(preview: Preview) -> str:
    """Return whether examples are packed, and into how many sequences."""
    if not preview.manifest.packing:
        return "no: a row is an example of its own"
    sequences = sum(c.num_examples for c in preview.manifest.clients)
    return (
        f"yes: {formatting.format_amount(sequences, 'sequence')}; an example in a sequence attends "
        "only to itself"
    )


def describe_counts(counts: TokenCounts) -> str:
    """Return the counts of a file: "3,538 rows, 243,708 tokens, 7,076 learnt; none dropped"."""
    parts = [
        f"{formatting.format_count(counts.rows)} {'row' if counts.rows == 1 else 'rows'}",
        f"{formatting.format_count(counts.tokens)} tokens",
        f"{formatting.format_count(counts.completion_tokens)} of them learnt",
        f"the longest has {formatting.format_count(counts.longest)}",
    ]
    dropped = [
        f"{formatting.format_count(n)} dropped ({reason.replace('_', ' ')})"
        for reason, n in sorted(counts.dropped.items())
        if n
    ]
    if counts.truncated:
        dropped.append(f"{formatting.format_count(counts.truncated)} truncated")
    return f"{', '.join(parts)}; {', '.join(dropped) or 'no row dropped or truncated'}"


def describe_row_tokens(row: PreviewRow) -> str:
    """Return the size of a row, and the reason for showing it: "shortest; 9 tokens, 2 learnt"."""
    reason = f"{row.reason}; " if row.reason else ""
    tokens = formatting.format_count(row.num_tokens)
    return f"{reason}{tokens} tokens, {formatting.format_count(row.num_learnt)} learnt"


def describe_hidden(row: PreviewRow) -> str:
    """Return the number of tokens in the middle of a long row that are left out."""
    tokens = formatting.format_count(row.num_hidden)
    learnt = formatting.format_count(row.num_hidden_learnt)
    return f"[{tokens} tokens are left out here, {learnt} of them learnt]"
