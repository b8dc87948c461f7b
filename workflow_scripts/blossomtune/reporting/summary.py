"""What an experiment was, and what came of it, in sentences."""

from collections.abc import Callable

from blossomtune.artifacts.dataset_manifest import RowCounts
from blossomtune.artifacts.metrics import ConfidenceInterval
from blossomtune.reporting import formatting
from blossomtune.reporting.formatting import format_number, format_percent
from blossomtune.reporting.load import ExperimentResults


def describe_change(
    before: ConfidenceInterval,
    after: ConfidenceInterval,
    format_value: Callable[[float], str],
    difference: ConfidenceInterval | None = None,
) -> str:
    """ "rose from 42 % to 72 %"; says so where that may be chance.

    Args:
        before: the first value.
        after: the second.
        spell: writes a value.
        difference: of the two, taken row by row; without it the intervals must not overlap.
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
    """What the training changed: accuracy where there is one, else the held-out loss."""
    rows, found = (
        f"{formatting.format_count(e.federated.rows)} held-out examples",
        e.differences["base"],
    )
    if e.uses_accuracy:
        before, after = e.base.accuracy, e.federated.accuracy
        return (
            f"accuracy on {rows} {describe_change(before, after, format_percent, found.accuracy)}"
        )
    loss = describe_change(e.base.loss, e.federated.loss, format_number, found.loss)
    perplexity = describe_change(e.base.perplexity, e.federated.perplexity, format_number)
    return f"the loss on {rows} {loss}, and perplexity {perplexity}"


def summarize_experiment(e: ExperimentResults) -> str:
    """The whole experiment in one sentence."""
    who = formatting.capitalize_first(formatting.format_amount(e.num_participants, "client"))
    together = " together, without pooling their data" if e.num_participants > 1 else ""
    return f"{who} taught {e.config['model']}{together}: {describe_outcome(e)}."


def summarize_run(experiments: list[ExperimentResults]) -> str:
    """The whole report in one sentence."""
    if len(experiments) == 1:
        return summarize_experiment(experiments[0])
    many = formatting.capitalize_first(formatting.format_amount(len(experiments), "experiment"))
    one_test = len({(e.dataset_name, e.federated.rows) for e in experiments}) == 1
    if one_test and all(e.federated.accuracy for e in experiments):
        best = max(experiments, key=lambda e: e.federated.accuracy.value)
        return f"{many} were run; {best.name} came out best: {describe_outcome(best)}."
    return f"{many} were run, each on clients that kept their data to themselves."


def find_majority_answer(e: ExperimentResults) -> tuple[str, float] | None:
    """The most frequent right answer and its share: what a constant guess would score."""
    if not e.federated.confusion:
        return None
    gold = {label: sum(row.values()) for label, row in e.federated.confusion.items()}
    label = max(sorted(gold), key=lambda key: gold[key])
    return label, gold[label] / max(1, sum(gold.values()))


def describe_rows(rows: RowCounts) -> str:
    """What became of the rows of a data set: "100 rows read, 7 filtered out, 93 left to ..."."""
    taken = [
        (rows.filtered, "filtered out"),
        (rows.duplicates, "duplicates removed"),
        (rows.limited, "beyond the limit"),
        (rows.test, "held out"),
    ]
    said = [f"{formatting.format_count(size)} {what}" for size, what in taken if size]
    return ", ".join(
        [
            f"{formatting.format_count(rows.read)} rows read",
            *said,
            f"{formatting.format_count(rows.train)} left to train on",
        ]
    )


_ROW_FORMAT_LABELS = {
    "prompt_completion": "prompt and completion",
    "alpaca": "Alpaca columns",
    "messages": "messages",
    "sharegpt": "ShareGPT conversations",
    "text": "plain text",
}


def describe_row_format(e: ExperimentResults) -> str:
    """What the rows are, and whether someone said so."""
    column = f" in “{e.row_format.column}”" if e.row_format.column else ""
    return (
        _ROW_FORMAT_LABELS[e.row_format.name]
        + column
        + (", found out from the columns" * e.row_format.detected)
    )


def describe_loss_target(e: ExperimentResults) -> str:
    """What a row of data is to the model, and where the loss is."""
    if e.row_format.name == "text":
        return "Each row of data is a text; the loss is on all of it."
    if e.row_format.name in ("messages", "sharegpt"):
        which = "the last answer" if e.preprocessing["loss"] == "last_turn" else "the answers"
        return f"Each row of data is a conversation; the loss is on {which} alone."
    return "Each row of data becomes a question and an answer; the loss is on the answer alone."


def describe_dropped_rows(e: ExperimentResults) -> str:
    """What became of rows that could not be taken as they are."""
    tokens = e.token_counts.values()
    limit = f"{formatting.format_count(e.preprocessing['max_length'])} tokens"
    told = [
        (sum(t.dropped.get("too_long", 0) for t in tokens), f"left out for more than {limit}"),
        (sum(t.dropped.get("unrenderable", 0) for t in tokens), "left out for not fitting"),
        (sum(t.truncated for t in tokens), f"cut to {limit}"),
    ]
    said = [f"{formatting.format_amount(size, 'row')} {what}" for size, what in told if size]
    packed = [t.packed for t in tokens if t.packed is not None]
    if packed:
        said.append(
            f"the rest packed into {formatting.format_amount(sum(packed), 'sequence')} of up to {limit}"
        )
    return f"{formatting.capitalize_first(', '.join(said))}." if said else ""
