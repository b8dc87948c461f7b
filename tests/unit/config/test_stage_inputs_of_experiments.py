"""Tests that each key of an experiment affects the stages that use it only."""

import copy

import experiment_cases
import pytest

from blossomtune.config import stage_inputs
from blossomtune.config.load import load_configuration
from blossomtune.files import to_canonical_json

STAGES = (
    "federate",
    "train_baseline",
    "merge",
    "evaluate",
    "benchmark",
    "judge",
    "export",
    "publish",
)
# the model card has a digest, and the report shows the whole
CARD = {"merge", "publish", "report"}

TRAINED = {"federate", "train_baseline"} | CARD
FEDERATED = {"federate"} | CARD
SCORES = {"evaluate", "benchmark"}
STAGES_BY_PATH = {
    # by block, and by key if it differs
    "model": CARD,
    "partition": CARD,
    "preprocessing": CARD,
    "lora": TRAINED,
    "training": TRAINED,
    "federation": FEDERATED,
    "federation.rounds": TRAINED,  # baselines take as many steps
    "federation.fraction_train": TRAINED,
    "federation.gpus_per_client": TRAINED | SCORES,  # evaluation.device is auto
    "federation.early_stopping": FEDERATED
    | {"evaluate"},  # rows that influence training are not scored
    "federation.early_stopping.patience": FEDERATED,
    "federation.early_stopping.min_delta": FEDERATED,
    "federation.result": FEDERATED | {"evaluate"},
    "baselines": {"report"},
    "baselines.threads": {"train_baseline", "report"},
    "evaluation": {"evaluate", "report"},
    "export": {"export", "report"},
    "publish": {"publish", "report"},
    **dict.fromkeys(
        ("evaluation.batch_size", "evaluation.device", "evaluation.dtype"), SCORES | {"report"}
    ),
    "evaluation.benchmarks": {"benchmark", "report"},
    "evaluation.bootstrap": {"evaluate", "judge", "report"},
    "evaluation.judge": {"judge", "report"},
}


def select_all(experiment):
    """Return every stage's part as the text that Snakemake compares."""
    raw = experiment_cases.build_configuration(experiment)
    configuration = load_configuration(raw)
    parts = {
        stage: to_canonical_json(getattr(stage_inputs, stage)(configuration, "x"))
        for stage in STAGES
    }
    for stage, section in (
        ("fetch_model", "model"),
        ("partition", "partition"),
        ("preprocess", "preprocessing"),
    ):
        parts[stage] = to_canonical_json(
            getattr(stage_inputs, stage)(configuration, raw["experiments"]["x"][section])
        )
    return parts | {"report": to_canonical_json(stage_inputs.report(configuration))}


def find_changed_stages(before, after):
    """Return the stages whose part changes."""
    before, after = select_all(before), select_all(after)
    return {stage for stage in before if before[stage] != after[stage]}


def get_expected_stages(path):
    """Return the entry of the longest known prefix of a path."""
    keys = [key for key in path.split(".") if key]
    prefixes = (".".join(keys[:count]) for count in range(len(keys), 0, -1))
    return STAGES_BY_PATH[next(prefix for prefix in prefixes if prefix in STAGES_BY_PATH)]


CASES = experiment_cases.build_cases()


@pytest.mark.parametrize("case", CASES, ids=[case.path for case in CASES])
def test_key_affects_these_stages(case):
    assert find_changed_stages(case.before, case.after) == get_expected_stages(case.path)


@pytest.mark.parametrize(("key", "value"), [("evaluate_rows", 9), ("fraction_evaluate", 0.5)])
def test_rows_that_influence_training_affect_the_evaluation(key, value):
    before = copy.deepcopy(CASES[0].before)
    before["federation"] |= {"result": "best"}
    after = before | {"federation": before["federation"] | {key: value}}
    assert find_changed_stages(before, after) == FEDERATED | {"evaluate"}


def test_name_equals_a_block_with_defaults():
    before = CASES[0].before
    for strategy in ("fedavg", {"name": "fedavg"}):
        after = before | {"federation": before["federation"] | {"strategy": strategy}}
        assert find_changed_stages(before, after) == set()
