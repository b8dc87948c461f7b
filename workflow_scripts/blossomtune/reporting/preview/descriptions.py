"""Describe clients, rows and their selection in words."""

from blossomtune.artifacts.tokenized_manifest import TokenCounts
from blossomtune.reporting import formatting
from blossomtune.reporting.preview.select_rows import MAX_ROWS
from blossomtune.reporting.preview.view import MAX_CLIENTS, Preview, PreviewRow


def describe_examples(preview: Preview) -> str:
    """Return a sentence with the number of clients, examples, and learnt tokens."""
    counts = preview.manifest.clients
    if not counts:
        return "The rows of the clients are not here."
    tokens = sum(c.tokens for c in counts)
    share = formatting.format_percent(sum(c.completion_tokens for c in counts) / tokens, 1)
    clients = formatting.capitalize_first(formatting.format_amount(len(counts), "client"))
    examples = formatting.format_amount(sum(c.rows for c in counts), "example")
    return (
        f"{clients} with {examples} and {formatting.format_count(tokens)} tokens, of which "
        f"{share} are learnt."
    )


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


def describe_counts(counts: TokenCounts) -> str:
    """Return the counts of a file: "9 examples, 90 tokens, 20 of them learnt; …"."""
    parts = [
        f"{formatting.format_count(counts.rows)} {'example' if counts.rows == 1 else 'examples'}",
        f"{formatting.format_count(counts.tokens)} tokens",
        f"{formatting.format_count(counts.completion_tokens)} of them learnt",
        f"the longest has {formatting.format_count(counts.longest)}",
    ]
    dropped = [
        f"{formatting.format_amount(n, 'row')} dropped ({reason.replace('_', ' ')})"
        for reason, n in sorted(counts.dropped.items())
        if n
    ]
    if counts.truncated:
        dropped.append(f"{formatting.format_amount(counts.truncated, 'row')} truncated")
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
