"""Numbers and sentences as people read them."""

import math
from collections.abc import Callable

from blossomtune.reporting.inputs import Experiment, Interval
from blossomtune.reporting.manifests import Rows

THIN = "\u202f"  # narrow no-break space, between a number and its unit
_SMALL = "no one two three four five six seven eight nine ten eleven twelve".split()  # noqa: SIM905
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def percent(share: float, digits: int = 0) -> str:
    """0.423 as "42 %"."""
    return f"{share * 100:.{digits}f}{THIN}%"


def points(difference: float, unit: str = " points") -> str:
    """A difference of two shares in percentage points, signed: "+30.2 points"."""
    return f"{difference * 100:+.1f}{unit}".replace("-", "−")


def count(number: int) -> str:
    """18223 as "18,223"."""
    return f"{number:,}"


def number(value: float | None) -> str:
    """Three significant digits; a dash where there is nothing to show."""
    if value is None or not math.isfinite(value):
        return "–"
    if value and not 1e-3 <= abs(value) < 1e6:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')} × 10{str(int(exponent)).translate(_SUPERSCRIPT)}"
    digits = max(0, 2 - math.floor(math.log10(abs(value)))) if value else 0
    return f"{value:,.{min(digits, 3)}f}"


def plain(value: float) -> str:
    """A setting as someone would type it: 5e-4, 0.05, 16."""
    text = f"{value:e}" if 0 < abs(value) < 1e-2 else f"{value:g}"
    mantissa, e, exponent = text.partition("e")
    return f"{float(mantissa):g}e{int(exponent)}" if e else text


def megabytes(size: float) -> str:
    """Bytes as "12.3 MB" (1 MB = 1,000,000 bytes), small ones as "4.5 kB"."""
    if size < 1e5:
        return f"{size / 1e3:,.1f}{THIN}kB"
    return f"{size / 1e6:,.1f}{THIN}MB"


def duration(seconds: float) -> str:
    """Seconds as "8 s", "2 min 05 s" or "3 h 07 min"."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f}{THIN}s" if seconds < 10 else f"{whole}{THIN}s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}{THIN}min {rest:02}{THIN}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}{THIN}h {minutes:02}{THIN}min"


def millions(size: int) -> str:
    """A number of parameters as "134.5 million"."""
    for value, word in ((1e9, "billion"), (1e6, "million")):
        if size >= value:
            return f"{size / value:.1f} {word}"
    return count(size)


def amount(size: int, noun: str) -> str:
    """ "four clients", "one client", "1,200 rows": small numbers as words."""
    word = _SMALL[size] if size < len(_SMALL) else count(size)
    return f"{word} {noun}" + ("" if size == 1 else "s")


def capital(text: str) -> str:
    """The text with a capital first letter, the rest as it is."""
    return text[:1].upper() + text[1:]


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
        clear = difference.low > 0 or difference.high < 0
    return f"{verb} from {first} to {last}" + ("" if clear else ", which may be chance")


def outcome(e: Experiment) -> str:
    """What the training changed: accuracy where there is one, else the held-out loss."""
    rows = f"{count(e.federated.rows)} held-out examples"
    if e.base.accuracy and e.federated.accuracy:
        before, after = e.base.accuracy, e.federated.accuracy
        return f"accuracy on {rows} {change(before, after, percent, e.difference)}"
    loss = change(e.base.loss, e.federated.loss, number)
    perplexity = change(e.base.perplexity, e.federated.perplexity, number)
    return f"the loss on {rows} {loss}, and perplexity {perplexity}"


def answer(e: Experiment) -> str:
    """The whole experiment in one sentence."""
    who = capital(amount(e.participants, "client"))
    together = " together, without pooling their data" if e.participants > 1 else ""
    return f"{who} taught {e.block['model']}{together}: {outcome(e)}."


def answers(experiments: list[Experiment]) -> str:
    """The whole report in one sentence."""
    if len(experiments) == 1:
        return answer(experiments[0])
    many = capital(amount(len(experiments), "experiment"))
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
    said = [f"{count(size)} {what}" for size, what in taken if size]
    return ", ".join(
        [f"{count(rows.read)} rows read", *said, f"{count(rows.train)} left to train on"]
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
    limit = f"{count(e.preprocessing['max_length'])} tokens"
    told = [
        (sum(t.dropped.get("too_long", 0) for t in tokens), f"left out for more than {limit}"),
        (sum(t.dropped.get("unrenderable", 0) for t in tokens), "left out for not fitting"),
        (sum(t.truncated for t in tokens), f"cut to {limit}"),
    ]
    said = [f"{amount(size, 'row')} {what}" for size, what in told if size]
    packed = [t.packed for t in tokens if t.packed is not None]
    if packed:
        said.append(f"the rest packed into {amount(sum(packed), 'sequence')} of up to {limit}")
    return f"{capital(', '.join(said))}." if said else ""
