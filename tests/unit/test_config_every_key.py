"""Every key of an experiment is told to the stages that use it, and to no other."""

import copy

import experiment_cases
import pytest

from blossomtune.config import stage_inputs
from blossomtune.config.load import load_configuration
from blossomtune.files import to_canonical_json

STAGES = ("federate", "train_baseline", "merge", "evaluate")
CARD = {"merge", "report"}  # the model card has a digest, and the report shows the whole

TRAINED = {"federate", "train_baseline"} | CARD
FEDERATED = {"federate"} | CARD
TOLD = {
    # by block, and by key where one differs
    "model": CARD,
    "partition": CARD,
    "preprocessing": CARD,
    "lora": TRAINED,
    "training": TRAINED,
    "federation": FEDERATED,
    "federation.rounds": TRAINED,  # baselines take as many steps
    "federation.fraction_train": TRAINED,
    "federation.gpus_per_client": TRAINED,
    "federation.early_stopping": FEDERATED | {"evaluate"},  # rows that decide are not tested on
    "federation.early_stopping.patience": FEDERATED,
    "federation.early_stopping.min_delta": FEDERATED,
    "federation.result": FEDERATED | {"evaluate"},
    "baselines": {"report"},
    "baselines.threads": {"train_baseline", "report"},
    "evaluation": {"evaluate", "report"},
}


def told(experiment):
    """What every stage is told of an experiment, as the text that Snakemake compares."""
    raw = experiment_cases.build_configuration(experiment)
    whole = load_configuration(raw)
    found = {stage: to_canonical_json(getattr(stage_inputs, stage)(whole, "x")) for stage in STAGES}
    for stage, section in (
        ("fetch_model", "model"),
        ("partition", "partition"),
        ("preprocess", "preprocessing"),
    ):
        found[stage] = to_canonical_json(
            getattr(stage_inputs, stage)(whole, raw["experiments"]["x"][section])
        )
    return found | {"report": to_canonical_json(stage_inputs.report(whole))}


def changed(before, after):
    """The stages that are told something else."""
    before, after = told(before), told(after)
    return {stage for stage in before if before[stage] != after[stage]}


def expected(path):
    """The entry of the longest part of a path."""
    parts = [part for part in path.split(".") if part]
    known = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return TOLD[next(part for part in known if part in TOLD)]


CASES = experiment_cases.build_cases()


@pytest.mark.parametrize("case", CASES, ids=[case.path for case in CASES])
def test_who_is_told_of_a_key(case):
    assert changed(case.before, case.after) == expected(case.path)


@pytest.mark.parametrize(("key", "value"), [("evaluate_rows", 9), ("fraction_evaluate", 0.5)])
def test_rows_that_decide_are_told_to_the_evaluation(key, value):
    before = copy.deepcopy(CASES[0].before)
    before["federation"] |= {"result": "best"}
    after = before | {"federation": before["federation"] | {key: value}}
    assert changed(before, after) == FEDERATED | {"evaluate"}


def test_a_name_and_a_block_with_nothing_else_are_the_same():
    before = CASES[0].before
    for strategy in ("fedavg", {"name": "fedavg"}):
        after = before | {"federation": before["federation"] | {"strategy": strategy}}
        assert changed(before, after) == set()
