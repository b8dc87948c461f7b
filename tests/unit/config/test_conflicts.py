"""Tests of the combinations of strategies, aggregations and adapters: code, messages and docs.

All combinations are built from the blocks of the configuration, so none is missing.
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

PAGE = Path(__file__).parents[3] / "docs" / "federation-methods.md"
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
COMBINATIONS = [
    {"lora": lora, "federation": {"strategy": {"name": s}, "aggregation": a, "privacy": privacy}}
    for s, a, lora, privacy in itertools.product(
        STRATEGY_SETTINGS, AGGREGATIONS, ADAPTERS.values(), [None, {}]
    )
]


def build_configuration(experiment, *, clients=5, validation=3):
    """Return a configuration of one experiment; its files need not exist."""
    source = {"kind": "path", "path": "own"}
    partition = {"dataset": "d", "partitioner": "iid", "num_partitions": clients}
    names = {"model": "m", "partition": "p", "preprocessing": "t"}
    return {
        "run": ["x"],
        "models": {"m": {"source": source}},
        "datasets": {"d": {"source": source}},
        "partitions": {"p": partition | {"validation_size": validation}},
        "preprocessing": {"t": {"text": "{{ a }}"}},
        "experiments": {"x": names | experiment},
    }


def find_errors(experiment, **partition):
    """Return pairs of key and message."""
    try:
        load_configuration(build_configuration(experiment, **partition))
    except ConfigurationError as error:
        lines = str(error).splitlines()[1:]
        return [tuple(line.removeprefix("  experiments.x.").split(": ", 1)) for line in lines]
    return []


def set_values(experiment, *changes):
    """Return a copy with other values: ``(block.key, value)`` each."""
    experiment = copy.deepcopy(experiment)
    for path, value in changes:
        *parents, last = path.split(".")
        block = experiment
        for key in parents:
            block = block.setdefault(key, {})
        block[last] = value
    return experiment


def parse_alternatives(message):
    """Yield the alternatives in a message, each as a list of changes."""
    text = message.rpartition("; use ")[2]
    one_rank = [("lora.ranks", None)]
    extra = one_rank if text.endswith(", and one rank") else []
    for part in re.split(r", or (?=aggregation|dora)", text.removesuffix(", and one rank")):
        kind, _, names = part.partition(" ")
        if kind in ("aggregation", "strategy"):
            for name in re.split(r", | or ", names):
                yield [(f"federation.{kind}", name), *extra]
        elif part == "one rank":
            yield one_rank
        elif part == "dora: false":
            yield [("lora.dora", False)]
        else:
            raise AssertionError(f"unknown alternative: {part!r}")


def test_message_has_a_reason_and_alternatives_that_work():
    """Each alternative removes its error and adds no other."""
    rejected = 0
    for experiment in COMBINATIONS:
        errors = find_errors(experiment)
        rejected += bool(errors)
        assert len(set(errors)) == len(errors)
        before = Counter(key for key, _ in errors)
        for key, message in errors:
            assert re.fullmatch(r"[^;]+; use [^;]+", message)
            for changes in parse_alternatives(message):
                after = Counter(k for k, _ in find_errors(set_values(experiment, *changes)))
                assert after <= before - Counter([key]), (experiment, changes)
    assert 0 < rejected < len(COMBINATIONS)


def test_every_rule_has_a_case():
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
        for experiment in [
            *COMBINATIONS,
            *(set_values(PLAIN, *changes) for changes, *_ in OTHER_CONFLICTS),
        ]:
            find_errors(experiment)
        find_errors(set_values(PLAIN, ("federation.fraction_evaluate", 1)), validation=0)
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


OTHER_CONFLICTS = [
    ([("lora.dora", True), ("export", {"adapter_gguf": True})], "export.adapter_gguf",
     "GGUF adapters have no place for DoRA's magnitudes; use gguf, or dora: false"),
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
    ([("training.base_dtype", "float16")], "training.base_dtype",
     "small gradients become zero in float16 unless the loss is scaled; use bfloat16, or add fp16: "
     "true to training.arguments"),
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
     "bulyan with these parameters needs at least 7 clients in a round; fraction_train 1.0 of 5 "
     "clients is 5; use more clients, or other parameters"),
    ([("federation.strategy", "multikrum"), ("federation.fraction_train", 0.4)],
     "federation.strategy", "multikrum with these parameters needs at least 3 clients in a round; "
     "fraction_train 0.4 of 5 clients is 2; use more clients, or other parameters"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "key", "message"), OTHER_CONFLICTS)
def test_other_conflicts_are_reported(changes, key, message):
    assert find_errors(set_values(PLAIN, *changes)) == [(key, message)]


def test_clients_need_validation_rows_to_evaluate():
    experiment = set_values(PLAIN, ("federation.fraction_evaluate", 0.5))
    assert find_errors(experiment) == []
    assert find_errors(experiment, validation=0) == [
        ("federation.fraction_evaluate", "clients score the adapter on rows that they hold out, "
         "and this partition has validation_size: 0; use fraction_evaluate: 0, or give it one")
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["no", "false"])
def test_text_counts_as_a_boolean(text):
    assert find_errors(set_values(PLAIN, ("training.arguments", {"fp16": text}))) == []


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
def test_strategy_needs_this_many_clients(strategy, clients):
    experiment = set_values(PLAIN, ("federation.strategy", strategy))
    assert find_errors(experiment, clients=clients) == []
    if clients > 1:
        [(key, _)] = find_errors(experiment, clients=clients - 1)
        assert key == "federation.strategy"


@pytest.mark.parametrize("beta", [0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 1 / 3, 0.4, 0.45, 0.49])
def test_trimmed_mean_leaves_out_a_client(beta):
    """Flower leaves out ``int(beta * clients)`` at each end."""
    needed = compute_min_clients(
        STRATEGY_SETTINGS["fedtrimmedavg"](name="fedtrimmedavg", beta=beta)
    )
    assert int(beta * (needed - 1)) == 0 < int(beta * needed)


OPTIONS = {
    "lora.ranks": [("lora.ranks", [2, 4, 8, 8, 8])],
    "lora.dora: true": [("lora.dora", True)],
    "training.optimizer_state: kept": [KEPT],
    "training.quantization": [("training.quantization", "4bit")],
    "communication.precision: int8": [INT8],
    "privacy": [PRIVATE],
}


def read_table():
    """Return the documented table: columns, cells by names of a row, and letters of reasons."""
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


def test_documented_table_is_complete():
    columns, rows, reasons = read_table()
    assert sorted(columns) == sorted(AGGREGATIONS)
    row_names = [name for names in rows for name in names]
    assert sorted(row_names) == sorted([*STRATEGY_SETTINGS, *OPTIONS])
    used = {cell for cells in rows.values() for cell in cells} - {"yes"}
    assert sorted(used) == sorted(reasons) == reasons


def test_documented_table_matches_the_code():
    columns, rows, _ = read_table()
    for names, cells in rows.items():
        for name, (column, cell) in itertools.product(names, zip(columns, cells, strict=True)):
            changes = OPTIONS.get(name, [("federation.strategy", name)])
            errors = find_errors(set_values(PLAIN, aggregation(column), *changes))
            assert (cell == "yes") == (errors == []), (name, column, errors)


def test_first_strategy_is_the_default():
    assert next(iter(STRATEGY_SETTINGS.values())) is FedAvgSettings
    assert (
        load_configuration(build_configuration({})).experiments["x"].federation.strategy
        == FedAvgSettings()
    )
