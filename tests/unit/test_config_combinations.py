"""Which strategies, aggregations and adapters go together: the code, its sentences and the docs.

All that can be combined is read from the blocks of the configuration, so nothing is forgotten.
"""

import ast
import copy
import itertools
import re
import sys
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest

from blossomtune.config import conflicts, federation
from blossomtune.config.load import ConfigurationError, load_configuration
from blossomtune.config.strategies import STRATEGY_SETTINGS, FedAvgSettings, compute_min_clients

PAGE = Path(__file__).parents[2] / "docs" / "federation-methods.md"
AGGREGATIONS = get_args(federation.AggregationMethod)
ADAPTERS = {
    "lora": {},
    "rslora": {"rslora": True},
    "dora": {"dora": True},
    "ranks": {"ranks": [2, 4, 8, 8, 8]},
    "column": {"ranks": {"column": "a", "ranks": {"x": 2, "y": 8}}},
    "dora-ranks": {"dora": True, "ranks": [2, 4, 8, 8, 8]},
}
PLAIN = {
    "lora": {},
    "federation": {"strategy": {"name": "fedavg"}, "aggregation": "fedavg", "privacy": None},
}
ALL = [
    {"lora": lora, "federation": {"strategy": {"name": s}, "aggregation": a, "privacy": privacy}}
    for s, a, lora, privacy in itertools.product(
        STRATEGY_SETTINGS, AGGREGATIONS, ADAPTERS.values(), [None, {}]
    )
]


def whole(experiment, *, clients=5, validation=3):
    """A configuration of one experiment; nothing of it has to be there."""
    source = {"kind": "path", "path": "own"}
    cut = {"dataset": "d", "partitioner": "iid", "num_partitions": clients}
    names = {"model": "m", "partition": "p", "preprocessing": "t"}
    return {
        "run": ["x"],
        "models": {"m": {"source": source}},
        "datasets": {"d": {"source": source}},
        "partitions": {"p": cut | {"validation_size": validation}},
        "preprocessing": {"t": {"text": "{{ a }}"}},
        "experiments": {"x": names | experiment},
    }


def faults(experiment, **partition):
    """Pairs of key and sentence; none where all is well."""
    try:
        load_configuration(whole(experiment, **partition))
    except ConfigurationError as error:
        lines = str(error).splitlines()[1:]
        return [tuple(line.removeprefix("  experiments.x.").split(": ", 1)) for line in lines]
    return []


def having(experiment, *changes):
    """A copy with other values: ``(block.key, value)`` each."""
    experiment = copy.deepcopy(experiment)
    for path, value in changes:
        *above, last = path.split(".")
        block = experiment
        for key in above:
            block = block.setdefault(key, {})
        block[last] = value
    return experiment


def remedies(sentence):
    """What a sentence says to use instead: lists of changes, each of which should help."""
    said = sentence.rpartition("; use ")[2]
    one_rank = [("lora.ranks", None)]
    also = one_rank if said.endswith(", and one rank") else []
    for part in re.split(r", or (?=aggregation|dora)", said.removesuffix(", and one rank")):
        kind, _, names = part.partition(" ")
        if kind in ("aggregation", "strategy"):
            for name in re.split(r", | or ", names):
                yield [(f"federation.{kind}", name), *also]
        elif part == "one rank":
            yield one_rank
        elif part == "dora: false":
            yield [("lora.dora", False)]
        else:
            raise AssertionError(f"not understood: {part!r}")


def test_what_is_refused_says_why_and_what_helps():
    """Each remedy takes its fault away, and brings no other."""
    refused = 0
    for experiment in ALL:
        found = faults(experiment)
        refused += bool(found)
        assert len(set(found)) == len(found)
        before = Counter(key for key, _ in found)
        for key, sentence in found:
            assert re.fullmatch(r"[^;]+; use [^;]+", sentence)
            for changes in remedies(sentence):
                left = Counter(k for k, _ in faults(having(experiment, *changes)))
                assert left <= before - Counter([key]), (experiment, changes)
    assert 0 < refused < len(ALL)


def test_every_rule_is_reached():
    tree = ast.parse(Path(conflicts.__file__).read_text(encoding="utf-8"))
    rules = [node for node in ast.walk(tree) if isinstance(node, ast.Yield)]
    reached = set()

    def trace(frame, event, _):
        if frame.f_code.co_filename != conflicts.__file__:
            return None
        if event == "line":
            reached.add(frame.f_lineno)
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        for experiment in [*ALL, *(having(PLAIN, *changes) for changes, *_ in OTHERS)]:
            faults(experiment)
        faults(having(PLAIN, ("federation.fraction_evaluate", 1)), validation=0)
    finally:
        sys.settrace(before)
    missed = [r.lineno for r in rules if reached.isdisjoint(range(r.lineno, r.end_lineno + 1))]
    assert len(rules) > 10
    assert not missed, f"no case for the rules in these lines of {conflicts.__file__}: {missed}"


GPU = ("federation.gpus_per_client", 1)
KEPT = ("training.optimizer_state", "kept")
INT8 = ("federation.communication", {"precision": "int8"})
PRIVATE = ("federation.privacy", {})


def aggregation(name):
    return ("federation.aggregation", name)


OTHERS = [
    ([KEPT, aggregation("flora")], "training.optimizer_state",
     "kept has no meaning with flora: its adapters start anew in each round; use fresh"),
    ([("training.quantization", "8bit"), ("lora.dora", True)], "training.quantization",
     "DoRA reads the weights on the way, and on a CPU 8-bit ones lose their scales by that; "
     "use 4bit, or a GPU"),
    ([("training.arguments", {"optim": "adopt", "optim_args": "a=1"})],
     "training.arguments.optim_args",
     "adopt reads none; use adam_beta1, adam_beta2, adam_epsilon and weight_decay"),
    ([("training.arguments", {"optim": "adopt", "max_steps": 1})], "training.arguments.max_steps",
     "the first step of adopt only measures, and with a fresh optimizer in each round there is no "
     "second; use more steps, or optimizer_state: kept"),
    ([("training.quantization", "8bit"), GPU, aggregation("fedex")], "training.quantization",
     "fedex adds to the base's weights in every round, and quantised ones would round that away; "
     "use none, or aggregation flexlora"),
    ([("training.arguments", {"fp16": True})], "training.arguments.fp16",
     "needs a GPU; set federation.gpus_per_client, or leave it out"),
    ([("training.arguments", {"tf32": True})], "training.arguments.tf32",
     "needs a GPU; set federation.gpus_per_client, or leave it out"),
    ([INT8, aggregation("flora")], "federation.communication.precision",
     "int8 sends in a later round what it rounded off, which has no meaning with flora: its "
     "adapters start anew in each round; use bfloat16"),
    ([PRIVATE, ("federation.strategy", "krum")], "federation.privacy",
     "the noise is measured for an average of clipped updates, which krum does not give; use "
     "strategy fedavg or fedprox"),
    ([PRIVATE, aggregation("hetlora")], "federation.privacy",
     "the noise is measured for an average of clipped updates, and what one client can change in "
     "the result of hetlora has no such bound; use aggregation ffa"),
    ([("federation.privacy", {"side": "client"}), aggregation("rolora")], "federation.privacy.side",
     "a client clips what it got against what it sends, and with rolora it sends one factor of "
     "two; use side: server"),
    ([("federation.privacy", {"side": "client"}), INT8], "federation.privacy.side",
     "int8 rounds after the client has clipped, which may go beyond the norm; use side: server, "
     "or precision float32"),
    ([PRIVATE, ("federation.fraction_evaluate", 1), ("federation.result", "best")],
     "federation.fraction_evaluate", "the clients' losses would decide which adapter comes out, "
     "without noise; use fraction_evaluate: 0, so that the server's held-out rows decide"),
    ([("lora.ranks", [4, 8]), aggregation("flexlora")], "lora.ranks",
     "2 ranks for 5 clients; give one each"),
    ([("federation.strategy", {"name": "bulyan", "malicious": 1})], "federation.strategy",
     "bulyan with these parameters wants at least 7 clients in a round; fraction_train 1.0 of 5 "
     "clients is 5; use more clients, or other parameters"),
    ([("federation.strategy", "multikrum"), ("federation.fraction_train", 0.4)],
     "federation.strategy", "multikrum with these parameters wants at least 3 clients in a round; "
     "fraction_train 0.4 of 5 clients is 2; use more clients, or other parameters"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "key", "sentence"), OTHERS)
def test_other_rules(changes, key, sentence):
    assert faults(having(PLAIN, *changes)) == [(key, sentence)]


def test_clients_need_rows_to_evaluate_on():
    experiment = having(PLAIN, ("federation.fraction_evaluate", 0.5))
    assert faults(experiment) == []
    assert faults(experiment, validation=0) == [
        ("federation.fraction_evaluate", "clients score the adapter on rows that they hold out, "
         "and this partition has validation_size: 0; use fraction_evaluate: 0, or give it one")
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["no", "false"])
def test_arguments_count_as_what_they_mean(text):
    assert faults(having(PLAIN, ("training.arguments", {"fp16": text}))) == []


@pytest.mark.parametrize(
    ("strategy", "clients"),
    [
        ({"name": "krum"}, 3),
        ({"name": "krum", "malicious": 2}, 7),
        ({"name": "multikrum", "selected": 6}, 6),
        ({"name": "multikrum", "malicious": 1, "selected": 5}, 6),
        ({"name": "bulyan"}, 3),
        ({"name": "bulyan", "malicious": 2}, 11),
        ({"name": "fedmedian"}, 3),
        ({"name": "fedtrimmedavg"}, 5),
        ({"name": "fedtrimmedavg", "beta": 0.34}, 3),
        ({"name": "fedtrimmedavg", "beta": 0}, 1),
        ({"name": "fedadam"}, 1),
    ],
)
def test_the_fewest_clients_of_a_strategy(strategy, clients):
    experiment = having(PLAIN, ("federation.strategy", strategy))
    assert faults(experiment, clients=clients) == []
    if clients > 1:
        [(key, _)] = faults(experiment, clients=clients - 1)
        assert key == "federation.strategy"


@pytest.mark.parametrize("beta", [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 1 / 3, 0.4, 0.45, 0.49])
def test_a_trimmed_average_trims(beta):
    """Flower leaves out ``int(beta * clients)`` at each end."""
    needed = compute_min_clients(
        STRATEGY_SETTINGS["fedtrimmedavg"](name="fedtrimmedavg", beta=beta)
    )
    assert int(beta * (needed - 1)) == 0 < int(beta * needed)


# The table in docs/federation-methods.md.

OPTIONS = {
    "lora.ranks": [("lora.ranks", [2, 4, 8, 8, 8])],
    "lora.dora: true": [("lora.dora", True)],
    "training.optimizer_state: kept": [KEPT],
    "training.quantization": [("training.quantization", "4bit")],
    "communication.precision: int8": [INT8],
    "privacy": [PRIVATE],
}


def table():
    """The rows of the table: names in the first cell, and a cell for each aggregation."""
    text = PAGE.read_text(encoding="utf-8").partition("## What can be combined\n")[2]
    text = text.partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    head, _, *body = rows
    columns = [name.strip("`") for name in head[1:]]
    reasons = re.findall(r"^- \*\*(\w)\*\* ", text, flags=re.M)
    return columns, {tuple(re.findall("`([^`]+)`", first)): rest for first, *rest in body}, reasons


def test_the_table_for_people_has_everything():
    columns, rows, reasons = table()
    assert sorted(columns) == sorted(AGGREGATIONS)
    named = [name for names in rows for name in names]
    assert sorted(named) == sorted([*STRATEGY_SETTINGS, *OPTIONS])
    used = {cell for cells in rows.values() for cell in cells} - {"yes"}
    assert sorted(used) == sorted(reasons) == reasons


def test_the_table_for_people_says_what_is_accepted():
    columns, rows, _ = table()
    for names, cells in rows.items():
        for name, (column, cell) in itertools.product(names, zip(columns, cells, strict=True)):
            changes = OPTIONS.get(name, [("federation.strategy", name)])
            found = faults(having(PLAIN, aggregation(column), *changes))
            assert (cell == "yes") == (found == []), (name, column, found)


def test_the_default_is_the_first_strategy():
    assert next(iter(STRATEGY_SETTINGS.values())) is FedAvgSettings
    assert load_configuration(whole({})).experiments["x"].federation.strategy == FedAvgSettings()
