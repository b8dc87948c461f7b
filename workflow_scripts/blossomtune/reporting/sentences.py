"""What an experiment was, and what came of it, in sentences."""

from collections.abc import Callable

from blossomtune.reporting import words
from blossomtune.reporting.inputs import Experiment
from blossomtune.reporting.manifests import Rows
from blossomtune.reporting.metrics import Interval
from blossomtune.reporting.words import number, percent


def change(
    before: Interval,
    after: Interval,
    spell: Callable[[float], str],
    difference: Interval | None = None,
) -> str:
    """ "rose from 42 % to 72 %"; says so where that may be chance.

    Args:
        before: the first value.
        after: the second.
        spell: writes a value.
        difference: of the two, taken row by row; without it the intervals must not overlap.
    """
    first, last = spell(before.value), spell(after.value)
    if first == last:
        return f"stayed at {last}"
    verb = "rose" if after.value > before.value else "fell"
    if difference is None:
        clear = after.low > before.high or after.high < before.low
    else:
        clear = difference.clear
    return f"{verb} from {first} to {last}" + ("" if clear else ", which may be chance")


def outcome(e: Experiment) -> str:
    """What the training changed: accuracy where there is one, else the held-out loss."""
    rows, found = f"{words.count(e.federated.rows)} held-out examples", e.difference["base"]
    if e.by_accuracy:
        before, after = e.base.accuracy, e.federated.accuracy
        return f"accuracy on {rows} {change(before, after, percent, found.accuracy)}"
    loss = change(e.base.loss, e.federated.loss, number, found.loss)
    perplexity = change(e.base.perplexity, e.federated.perplexity, number)
    return f"the loss on {rows} {loss}, and perplexity {perplexity}"


def answer(e: Experiment) -> str:
    """The whole experiment in one sentence."""
    who = words.capital(words.amount(e.participants, "client"))
    together = " together, without pooling their data" if e.participants > 1 else ""
    return f"{who} taught {e.block['model']}{together}: {outcome(e)}."


def answers(experiments: list[Experiment]) -> str:
    """The whole report in one sentence."""
    if len(experiments) == 1:
        return answer(experiments[0])
    many = words.capital(words.amount(len(experiments), "experiment"))
    one_test = len({(e.dataset_name, e.federated.rows) for e in experiments}) == 1
    if one_test and all(e.federated.accuracy for e in experiments):
        best = max(experiments, key=lambda e: e.federated.accuracy.value)
        return f"{many} were run; {best.name} came out best: {outcome(best)}."
    return f"{many} were run, each on clients that kept their data to themselves."


def majority(e: Experiment) -> tuple[str, float] | None:
    """The most frequent right answer and its share: what a constant guess would score."""
    if not e.federated.confusion:
        return None
    gold = {label: sum(row.values()) for label, row in e.federated.confusion.items()}
    label = max(sorted(gold), key=lambda key: gold[key])
    return label, gold[label] / max(1, sum(gold.values()))


def fate(rows: Rows) -> str:
    """What became of the rows of a data set: "100 rows read, 7 filtered out, 93 left to ..."."""
    taken = [
        (rows.filtered, "filtered out"),
        (rows.duplicates, "duplicates removed"),
        (rows.limited, "beyond the limit"),
        (rows.test, "held out"),
    ]
    said = [f"{words.count(size)} {what}" for size, what in taken if size]
    return ", ".join(
        [
            f"{words.count(rows.read)} rows read",
            *said,
            f"{words.count(rows.train)} left to train on",
        ]
    )


_SHAPES = {
    "prompt_completion": "prompt and completion",
    "alpaca": "Alpaca columns",
    "messages": "messages",
    "sharegpt": "ShareGPT conversations",
    "text": "plain text",
}


def shape(e: Experiment) -> str:
    """What the rows are, and whether someone said so."""
    column = f" in “{e.shape.column}”" if e.shape.column else ""
    return _SHAPES[e.shape.name] + column + (", found out from the columns" * e.shape.detected)


def taught(e: Experiment) -> str:
    """What a row of data is to the model, and where the loss is."""
    if e.shape.name == "text":
        return "Each row of data is a text; the loss is on all of it."
    if e.shape.name in ("messages", "sharegpt"):
        which = "the last answer" if e.preprocessing["loss"] == "last_turn" else "the answers"
        return f"Each row of data is a conversation; the loss is on {which} alone."
    return "Each row of data becomes a question and an answer; the loss is on the answer alone."


def left_out(e: Experiment) -> str:
    """What became of rows that could not be taken as they are."""
    tokens = e.tokens.values()
    limit = f"{words.count(e.preprocessing['max_length'])} tokens"
    told = [
        (sum(t.dropped.get("too_long", 0) for t in tokens), f"left out for more than {limit}"),
        (sum(t.dropped.get("unrenderable", 0) for t in tokens), "left out for not fitting"),
        (sum(t.truncated for t in tokens), f"cut to {limit}"),
    ]
    said = [f"{words.amount(size, 'row')} {what}" for size, what in told if size]
    packed = [t.packed for t in tokens if t.packed is not None]
    if packed:
        said.append(
            f"the rest packed into {words.amount(sum(packed), 'sequence')} of up to {limit}"
        )
    return f"{words.capital(', '.join(said))}." if said else ""
