"""Summarize experiments, their data and their results."""

from collections.abc import Callable, Sequence

from blossomtune.artifacts.dataset_manifest import RowCounts
from blossomtune.artifacts.metrics import ConfidenceInterval, GroupMetrics, PairedDifference
from blossomtune.reporting import formatting, headline, leaks
from blossomtune.reporting.formatting import format_number, format_percent
from blossomtune.reporting.load import ExperimentResults


def describe_change(
    before: ConfidenceInterval,
    after: ConfidenceInterval,
    format_value: Callable[[float], str],
    difference: ConfidenceInterval | None = None,
) -> str:
    """Return a change: "rose from 42 % to 72 %", and whether it may be chance.

    Args:
        before: the first value.
        after: the second value.
        format_value: function that formats a value.
        difference: paired difference; without it, overlapping intervals may be chance.

    Returns:
        Part of a sentence, without a full stop. The verb is "stayed" if both look equal.
    """
    first, last = format_value(before.value), format_value(after.value)
    if first == last:
        return f"stayed at {last}"
    verb = "rose" if after.value > before.value else "fell"
    if difference is None:
        clear = after.low > before.high or after.high < before.low
    else:
        clear = difference.excludes_zero
    return f"{verb} from {first} to {last}" + ("" if clear else ", which may be chance")


def describe_outcome(e: ExperimentResults) -> str:
    """Return the change of the accuracy, or of the loss without choices, also without leaks."""
    rows = f"{formatting.format_count(e.federated.rows)} held-out examples"
    outcome = _describe_answers(e)
    if not outcome or e.num_leaked:
        scores = _describe_scores(f" on {rows}", e.base, e.federated, e.differences["base"])
        outcome = f"{outcome}, and {scores}" if outcome else scores
    if not e.num_leaked:
        return outcome
    outcome += f"; {leaks.describe_leaked_examples(e)}"
    if e.without_leaks is None:
        return outcome
    base, federated = (e.without_leaks.models[name] for name in ("base", "federated"))
    scores = _describe_scores("", base, federated, e.without_leaks.difference["base"])
    return f"{outcome}, and without them {scores}"


def _describe_answers(e: ExperimentResults) -> str:
    """Return the change of the written answers; empty with choices, or without such answers."""
    change = None if e.uses_accuracy else headline.get_answer_change(e)
    if change is None:
        return ""
    values = describe_change(change.before, change.after, format_percent, change.difference)
    rows = formatting.format_count(change.rows)
    return f"{change.label} of {rows} written answers {values}"


def _describe_scores(
    rows: str, before: GroupMetrics, after: GroupMetrics, difference: PairedDifference
) -> str:
    if before.accuracy and after.accuracy:
        change = describe_change(
            before.accuracy, after.accuracy, format_percent, difference.accuracy
        )
        return f"accuracy{rows} {change}"
    loss = describe_change(before.loss, after.loss, format_number, difference.loss)
    perplexity = describe_change(before.perplexity, after.perplexity, format_number)
    return f"the loss{rows} {loss}, and perplexity {perplexity}"


def summarize_experiment(e: ExperimentResults) -> str:
    """Return the experiment in one sentence."""
    clients = formatting.capitalize_first(formatting.format_amount(e.num_participants, "client"))
    together = " together, without pooling their data" if e.num_participants > 1 else ""
    return f"{clients} taught {e.config['model']}{together}: {describe_outcome(e)}."


def summarize_run(experiments: Sequence[ExperimentResults]) -> str:
    """Return the run in one sentence."""
    if len(experiments) == 1:
        return summarize_experiment(experiments[0])
    many = formatting.capitalize_first(formatting.format_amount(len(experiments), "experiment"))
    best = headline.find_best(experiments)
    if best:
        return f"{many} were run; {best.name} came out best: {describe_outcome(best)}."
    return f"{many} were run, each on clients that kept their data to themselves."


def find_majority_answer(e: ExperimentResults) -> tuple[str, float] | None:
    """Return the most frequent right answer and its share; None without choices."""
    if not e.federated.confusion:
        return None
    gold = {label: sum(row.values()) for label, row in e.federated.confusion.items()}
    label = max(sorted(gold), key=lambda key: gold[key])
    return label, gold[label] / max(1, sum(gold.values()))


def describe_rows(rows: RowCounts) -> str:
    """Return the rows after each step: "100 rows read, 7 filtered out, 93 left to train on"."""
    removed = [
        (rows.skipped, "skipped while reading"),
        (rows.filtered, "filtered out"),
        (rows.duplicates, "duplicates removed"),
        (rows.limited, "beyond the limit"),
        (rows.test, "held out"),
    ]
    steps = [f"{formatting.format_count(size)} {step}" for size, step in removed if size]
    return ", ".join(
        [
            f"{formatting.format_count(rows.read)} rows read",
            *steps,
            f"{formatting.format_count(rows.train)} left to train on",
        ]
    )


_ROW_FORMAT_LABELS = {
    "prompt_completion": "prompt and completion",
    "alpaca": "Alpaca columns",
    "messages": "messages",
    "sharegpt": "ShareGPT conversations",
    "input_ideal": "prompts and right answers",
    "text": "plain text",
}


def describe_row_format(e: ExperimentResults) -> str:
    """Return the format of the rows, and whether it was detected."""
    columns = e.row_format.columns
    name = columns.get("messages") or columns.get("text")
    column = f" in “{name}”" if name else ""
    return (
        _ROW_FORMAT_LABELS[e.row_format.name]
        + column
        + (", found out from the columns" * e.row_format.detected)
    )


def describe_loss_target(e: ExperimentResults) -> str:
    """Return a sentence on the examples and the tokens that contribute to the loss."""
    if e.row_format.name == "text":
        return "Each row of data is a text; the loss is on all of it."
    if e.row_format.name in ("messages", "sharegpt") or "prompt" in e.row_format.columns:
        target = "the last answer" if e.preprocessing["loss"] == "last_turn" else "the answers"
        return f"Each row of data is a conversation; the loss is on {target} alone."
    return "Each row of data becomes a question and an answer; the loss is on the answer alone."


def describe_dropped_rows(e: ExperimentResults) -> str:
    """Return a sentence on rows that were dropped, cut or packed; empty if none was."""
    tokens = e.token_counts.values()
    limit = f"{formatting.format_count(e.preprocessing['max_length'])} tokens"
    changes = [
        (sum(t.dropped.get("too_long", 0) for t in tokens), f"left out for more than {limit}"),
        (sum(t.dropped.get("unrenderable", 0) for t in tokens), "left out for not fitting"),
        (sum(t.dropped.get("leaks", 0) for t in tokens), "left out for being held out, too"),
        (sum(t.truncated for t in tokens), f"cut to {limit}"),
    ]
    parts = [
        f"{formatting.format_amount(size, 'row')} {change}" for size, change in changes if size
    ]
    packed = [t.packed for t in tokens if t.packed is not None]
    if packed:
        sequences = formatting.format_amount(sum(packed), "sequence")
        parts.append(f"the rest packed into {sequences} of up to {limit}")
    return f"{formatting.capitalize_first(', '.join(parts))}." if parts else ""
