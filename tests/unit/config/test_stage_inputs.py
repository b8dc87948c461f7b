"""Tests that each stage depends on its own part of the configuration only."""

import copy
import json
from pathlib import Path

import config_cases
import pytest
import yaml

from blossomtune.config import stage_inputs
from blossomtune.config.datasets import DatasetSettings
from blossomtune.config.load import load_configuration
from blossomtune.files import to_canonical_json

FILE = Path(__file__).parents[3] / "config" / "config.yaml"
NAMES = {
    "fetch_model": ["smollm2-135m-instruct"],
    "download": ["vader-sentiment"],
    "partition": ["by-domain"],
    "preprocess": ["sentiment"],
    "render_preview": ["by-domain", "sentiment", "smollm2-135m-instruct"],
    "federate": ["quickstart"],
    "train_baseline": ["quickstart"],
    "merge": ["quickstart"],
    "evaluate": ["quickstart"],
    "fetch_converter": [],
    "export": ["quickstart"],
    "track": [],
    "report": [],
}
EXPERIMENT = "experiments.quickstart"


@pytest.fixture
def raw():
    return yaml.safe_load(FILE.read_text(encoding="utf-8"))


def select_all(raw, names=NAMES):
    """Return every stage's part as the text that Snakemake compares."""
    configuration = load_configuration(raw)
    return {
        s: to_canonical_json(getattr(stage_inputs, s)(configuration, *n)) for s, n in names.items()
    }


def find_changed_stages(raw, path, value):
    """Return the stages whose part changes with a key."""
    other = copy.deepcopy(raw)
    *parents, last = path.split(".")
    block = other
    for key in parents:
        block = block.setdefault(key, {})
    block[last] = value
    before, after = select_all(raw), select_all(other)
    return {stage for stage in NAMES if before[stage] != after[stage]}


# the model card has a digest of all that the adapter depends on; the report shows everything
CARD = {"merge", "report"}
TRAINED = {"federate", "train_baseline"} | CARD
CHANGES = [
    ("tracking", "mlflow", {"track"}),
    ("seed", 7, {"download", "partition", "render_preview", "evaluate"} | TRAINED),
    ("models.smollm2-135m-instruct.source.version", "9.9", {"fetch_model"} | CARD),
    ("datasets.vader-sentiment.test.size", 0.2, {"download"} | CARD),
    ("datasets.vader-sentiment.licence", "other", {"download"} | CARD),
    ("partitions.by-domain.num_partitions", 3, {"partition"} | CARD),
    ("preprocessing.sentiment.completion", "x", {"preprocess"} | CARD),
    (f"{EXPERIMENT}.lora.alpha", 1, TRAINED),
    (f"{EXPERIMENT}.training.learning_rate_min", 0, TRAINED),
    (f"{EXPERIMENT}.training.base_dtype", "bfloat16", TRAINED),
    (f"{EXPERIMENT}.training.arguments.max_steps", 999, TRAINED),
    (f"{EXPERIMENT}.federation.rounds", 9, TRAINED),
    (f"{EXPERIMENT}.federation.fraction_train", 0.5, TRAINED),
    (f"{EXPERIMENT}.federation.gpus_per_client", 1, TRAINED | {"evaluate"}),
    (f"{EXPERIMENT}.federation.gpus_per_client", "auto", TRAINED | {"evaluate"}),
    (f"{EXPERIMENT}.federation.strategy", "fedprox", {"federate"} | CARD),
    (f"{EXPERIMENT}.federation.aggregation", "ffa", {"federate"} | CARD),
    (f"{EXPERIMENT}.federation.evaluate_rows", 9, {"federate"} | CARD),
    (f"{EXPERIMENT}.federation.early_stopping", {"patience": 2}, {"federate", "evaluate"} | CARD),
    (f"{EXPERIMENT}.federation.result", "best", {"federate", "evaluate"} | CARD),
    (f"{EXPERIMENT}.baselines.centralised", True, {"report"}),
    (f"{EXPERIMENT}.baselines.local", True, {"report"}),
    (f"{EXPERIMENT}.baselines.threads", 1, {"train_baseline", "report"}),
    (f"{EXPERIMENT}.evaluation.batch_size", 1, {"evaluate", "report"}),
    (f"{EXPERIMENT}.evaluation.dtype", "bfloat16", {"evaluate", "report"}),
    (f"{EXPERIMENT}.evaluation.device", "cuda", {"evaluate", "report"}),
    (f"{EXPERIMENT}.evaluation.device", "cpu", {"report"}),  # as auto without GPUs
    (f"{EXPERIMENT}.evaluation.generation.rows", 0, {"evaluate", "report"}),
    (f"{EXPERIMENT}.export", {"gguf": ["q8_0"]}, {"export", "report"}),
    ("report.title", "x", {"report"}),
    ("container.image", "docker://x", set()),
    ("preprocessing.unused", {"prompt": "x", "completion": "y"}, set()),
    (f"{EXPERIMENT}.lora.rslora", "no", set()),
    (f"{EXPERIMENT}.evaluation.bootstrap", 2000, set()),  # the default, written out
]


@pytest.mark.parametrize(("path", "value", "expected"), CHANGES, ids=[path for path, *_ in CHANGES])
def test_change_affects_these_stages(raw, path, value, expected):
    assert find_changed_stages(raw, path, value) == expected


STAGE = {"datasets": "download", "partitions": "partition", "preprocessing": "preprocess"}
CASES = config_cases.build_cases()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_key_of_the_data_affects_its_own_stage(case):
    raw = config_cases.build_configuration()
    uses = {"datasets": "base", "partitions": "base", "preprocessing": "base"}
    uses |= {"partitions": case.name} if case.section == "datasets" else {}
    uses |= {case.section: case.name}
    raw["experiments"]["x"] |= {
        "partition": uses["partitions"],
        "preprocessing": uses["preprocessing"],
    }
    if "clients" in case.before:
        raw["experiments"]["x"]["federation"] = {"engine": {"name": "external", "host": "a"}}
    names = {stage: ["x"] for stage in ("federate", "train_baseline", "merge", "evaluate")}
    names |= {stage: [uses[section]] for section, stage in STAGE.items()}
    names |= {"fetch_model": ["m"], "report": []}
    before = select_all(raw, names)
    raw[case.section][case.name] = case.after
    after = select_all(raw, names)
    assert {s for s in names if before[s] != after[s]} == {STAGE[case.section]} | CARD


def test_local_partition_depends_on_settings_for_reading_files():
    [case] = [c for c in CASES if c.name == "LocalPartition-paths"]
    raw = config_cases.build_configuration()
    raw["partitions"]["here"] = case.before

    def select(block):
        raw["datasets"]["base"] = block
        return stage_inputs.partition(load_configuration(raw), "here")

    [example] = [e for e in config_cases.EXAMPLES if e.block_type is DatasetSettings]
    before = select(example.values)
    relevant = {key for key in example.new_values if select(example.with_change(key)) != before}
    others = {"source", "shuffle_seed", "limit", "test", "licence"}
    assert relevant == set(DatasetSettings.model_fields) - others


def test_key_order_does_not_matter(raw):
    def reverse(value):
        if isinstance(value, dict):
            return {key: reverse(value[key]) for key in reversed(value)}
        return value

    assert select_all(reverse(raw)) == select_all(raw)


def test_parts_are_plain_json(raw):
    for text in select_all(raw).values():
        assert to_canonical_json(json.loads(text)) == text


def test_name_of_an_experiment_does_not_affect_training(raw):
    raw["experiments"]["twin"] = raw["experiments"]["quickstart"]
    configuration = load_configuration(raw)
    for stage in (stage_inputs.federate, stage_inputs.train_baseline, stage_inputs.evaluate):
        assert stage(configuration, "quickstart") == stage(configuration, "twin")


def test_evaluation_depends_on_rows_that_influence_training(raw):
    def count_server_eval_rows(**federation):
        raw["experiments"]["quickstart"]["federation"] |= federation
        return stage_inputs.evaluate(load_configuration(raw), "quickstart")["server_eval_rows"]

    assert count_server_eval_rows(evaluate_rows=9) == 0
    assert count_server_eval_rows(result="best") == 9
    raw["partitions"]["by-domain"]["validation_size"] = 0.1
    assert count_server_eval_rows(fraction_evaluate=0.5) == 0  # the clients' own rows decide


def test_downloads_of_a_plan_are_the_sources_of_all_used_blocks(raw):
    [dataset] = raw["datasets"].values()
    other = {"source": {"kind": "path", "path": "other"}}
    mixture = {"source": {"kind": "mixture", "datasets": ["vader-sentiment", "other"]}}
    dataset["test"] = {"source": {"kind": "path", "path": "held-out"}}
    raw["datasets"] |= {"other": other, "mixed": mixture, "unused": other}
    raw["partitions"]["by-domain"]["dataset"] = "mixed"
    downloads = stage_inputs.plan_downloads(load_configuration(raw))
    kinds = {
        name: [source["kind"] for source in sources]
        for name, sources in downloads["datasets"].items()
    }
    assert kinds == {"mixed": ["mixture"], "other": ["path"], "vader-sentiment": ["pypi", "path"]}
    assert list(downloads["models"]) == ["smollm2-135m-instruct"]
    assert "converters" not in downloads
    raw["experiments"]["quickstart"]["export"] = {"gguf": ["f16"]}
    downloads = stage_inputs.plan_downloads(load_configuration(raw))
    assert [source["package"] for source in downloads["converters"]["llama.cpp"]] == [
        "llama-cpp-python"
    ]
