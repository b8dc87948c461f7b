"""What people are told about a configuration that cannot be built."""

import copy
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from blossomtune.config import sft_arguments
from blossomtune.config.load import ConfigurationError, load_configuration

FILE = Path(__file__).parents[2] / "config" / "config.yaml"
RAW = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SOURCE = "models.smollm2-135m-instruct.source"
DATA = "datasets.vader-sentiment"
PARTITION = "partitions.by-domain"
EXPERIMENT = "experiments.quickstart"
ARGUMENTS = f"{EXPERIMENT}.training.arguments"
FEDERATION = f"{EXPERIMENT}.federation"
PRIVACY = f"{FEDERATION}.privacy"
STRATEGIES = (
    "fedavg, fedprox, fedavgm, fedadagrad, fedadam, fedyogi, fedmedian, fedtrimmedavg, krum, "
    "multikrum, bulyan, scaffold"
)


def put(raw, changes):
    """A copy of a configuration with other values, by path."""
    raw = copy.deepcopy(raw)
    for path, value in changes.items():
        *above, last = path.split(".")
        block = raw
        for key in above:
            block = block.setdefault(key, {})
        block[last] = value
    return raw


def faults(raw):
    """What is told about it, a line a fault."""
    with pytest.raises(ConfigurationError) as error:
        load_configuration(raw)
    first, *lines = str(error.value).splitlines()
    count = "1 error" if len(lines) == 1 else f"{len(lines)} errors"
    assert first == f"{count} in the configuration"
    return [line.removeprefix("  ") for line in lines]


ONE = [
    # unknown keys
    ("sed", 1, "unknown key (value 1); did you mean 'seed'? allowed: seed, run, container, models, "
     "datasets, partitions, preprocessing, experiments, report"),
    ("report.titel", "x", "unknown key (value 'x'); did you mean 'title'? "
     "allowed: title, description"),
    (f"{SOURCE}.fil", "x", "unknown key (value 'x'); did you mean 'file'? "
     "allowed: kind, package, version, distribution, sha256, file"),
    (f"{PARTITION}.colum", "x", "unknown key (value 'x'); did you mean 'column'? "
     "allowed: dataset, num_partitions, label_column, min_rows, validation_size, test_size, "
     "column, partitioner"),
    (f"{EXPERIMENT}.evaluation.generation.zzz", 1, "unknown key (value 1); "
     "allowed: rows, max_new_tokens"),
    # wrong types and values out of range
    ("seed", "x", "'x' is not allowed; allowed: a whole number"),
    ("seed", -1, "-1 is not allowed; allowed: a number of at least 0"),
    ("run", "quickstart", "'quickstart' is not allowed; allowed: a list"),
    ("run", [], "[] is not allowed; allowed: a list that is not empty"),
    ("container", None, "None is not allowed; allowed: a block of keys"),
    (f"{SOURCE}.version", 0.1, "0.1 is not allowed; allowed: text, so put it in quotes"),
    (f"{SOURCE}.sha256", "5D7C", "'5D7C' is not allowed; "
     "allowed: 64 digits of 0-9 and a-f, in quotes where all are 0-9"),
    (f"{DATA}.licence", "", "'' is not allowed; allowed: text that is not empty"),
    (f"{DATA}.test.size", 0, "0 is not allowed; "
     "allowed: a number of rows of at least 1, a share of them between 0 and 1, or all"),
    (f"{DATA}.test.size", 1.5, "1.5 is not allowed; "
     "allowed: a number of rows of at least 1, a share of them between 0 and 1, or all"),
    (f"{PARTITION}.validation_size", -1, "-1 is not allowed; "
     "allowed: 0, a number of rows, or a share of them below 1"),
    (f"{DATA}.source.sha256", 7, "7 is not allowed; "
     "allowed: 64 digits of 0-9 and a-f, in quotes where all are 0-9"),
    (f"{PARTITION}.num_partitions", 2.5, "2.5 is not allowed; allowed: a whole number"),
    (f"{EXPERIMENT}.federation.rounds", True, "True is not allowed; allowed: a number"),
    (f"{EXPERIMENT}.lora.dropout", 1, "1 is not allowed; allowed: a number below 1.0"),
    (f"{EXPERIMENT}.lora.rslora", "maybe", "'maybe' is not allowed; allowed: true or false"),
    (f"{EXPERIMENT}.lora.target_modules", "all", "'all' is not allowed; "
     "allowed: a list of layers' names, or all-linear"),
    (f"{EXPERIMENT}.federation.fraction_train", 2, "2 is not allowed; "
     "allowed: a number of at most 1.0"),
    (f"{EXPERIMENT}.training.learning_rate_max", 0, "0 is not allowed; "
     "allowed: a number above 0.0"),
    (f"{EXPERIMENT}.training.learning_rate_max", float("inf"), "inf is not allowed; "
     "allowed: a finite number"),
    # one of several words
    (f"{SOURCE}.distribution", "wheels", "'wheels' is not allowed; allowed: wheel, sdist; "
     "did you mean 'wheel'?"),
    (f"{EXPERIMENT}.federation.engine", "kubernetes", "'kubernetes' is not allowed; "
     "allowed: simulation, process, docker, apptainer, slurm, external"),
    (f"{SOURCE}.kind", "hubs", "'hubs' is not allowed; allowed: pypi, hub, path; "
     "did you mean 'hub'?"),
    (f"{PARTITION}.partitioner", "natural", "'natural' is not allowed; allowed: iid, dirichlet, "
     "inner_dirichlet, distribution, continuous, pathological, shard, size, linear, square, "
     "exponential, natural_id, grouped_natural_id, local; did you mean 'natural_id'?"),
    (f"{PARTITION}.partitioner", "vertical_even", "'vertical_even' is not allowed: clients would "
     "hold different columns of the same rows, and a text cannot be learnt from a part of it"),
    (f"{PARTITION}.partitioner", "id_to_size_fnc", "'id_to_size_fnc' is not allowed: it takes a "
     "function, which a configuration cannot hold; linear, square, exponential and size say the "
     "same in numbers"),
    # strategies: a name, or a block of name and parameters
    (f"{FEDERATION}.strategy", "fedavgg", f"'fedavgg' is not allowed; allowed: {STRATEGIES}; "
     "did you mean 'fedavg'?"),
    (f"{FEDERATION}.strategy", "FedAdam", f"'FedAdam' is not allowed; allowed: {STRATEGIES}; "
     "did you mean 'fedadam'?"),
    (f"{FEDERATION}.strategy", 3, "3 is not allowed; "
     "allowed: a name, or a block of name and parameters"),
    (f"{FEDERATION}.strategy", None, "None is not allowed; "
     "allowed: a name, or a block of name and parameters"),
    (f"{FEDERATION}.strategy", {"mu": 1}, "key 'name' is missing; it says which kind this is"),
    (f"{FEDERATION}.aggregation", "flexlor", "'flexlor' is not allowed; allowed: fedavg, flexlora, "
     "flora, fedex, ffa, rolora, hetlora; did you mean 'flexlora'?"),
    # ranks
    (f"{EXPERIMENT}.lora.ranks", 8, "8 is not allowed; "
     "allowed: a list of ranks, one a client, or a block of column and ranks"),
    (f"{EXPERIMENT}.lora.ranks", [], "[] is not allowed; allowed: a list that is not empty"),
    (f"{EXPERIMENT}.lora.ranks", [4, 8, 16, 32], "16 is above r (8), the rank that the server "
     "keeps"),
    (f"{EXPERIMENT}.lora.ranks", {"column": "domain", "ranks": {"tweets": 9}}, "9 is above r (8), "
     "the rank that the server keeps"),
    (f"{EXPERIMENT}.lora.dora", "sure", "'sure' is not allowed; allowed: true or false"),
    # what clients do
    (f"{EXPERIMENT}.training.optimizer_state", "keep", "'keep' is not allowed; "
     "allowed: fresh, kept; did you mean 'kept'?"),
    (f"{EXPERIMENT}.training.quantization", 4, "4 is not allowed; allowed: none, 8bit, 4bit"),
    (f"{EXPERIMENT}.training.quantization", "4bits", "'4bits' is not allowed; "
     "allowed: none, 8bit, 4bit; did you mean '4bit'?"),
    (f"{ARGUMENTS}.optim", "adpt", "'adpt' is not allowed; "
     "allowed: adopt, or an optimizer of transformers; did you mean 'adopt'?"),
    (f"{ARGUMENTS}.optim", 3, "3 is not allowed; allowed: adopt, or an optimizer of transformers"),
    (f"{ARGUMENTS}.auto_find_batch_size", "maybe", "'maybe' is not allowed; "
     "allowed: true or false"),
    # how clients and server work together
    (f"{FEDERATION}.fraction_evaluate", 1.5, "1.5 is not allowed; "
     "allowed: a number of at most 1.0"),
    (f"{FEDERATION}.gpus_per_client", 2, "2 is not allowed; "
     "allowed: auto, or a number from 0 to 1: a client trains on one GPU"),
    (f"{FEDERATION}.evaluate_every", 0, "0 is not allowed; allowed: a number of at least 1"),
    (f"{FEDERATION}.keep_checkpoints", 1, "1 is not allowed; allowed: a number of at least 2"),
    (f"{FEDERATION}.result", "bset", "'bset' is not allowed; allowed: last, best; "
     "did you mean 'best'?"),
    (f"{FEDERATION}.early_stopping", True, "True is not allowed; allowed: a block of keys"),
    (f"{FEDERATION}.early_stopping.patience", 0, "0 is not allowed; "
     "allowed: a number of at least 1"),
    (f"{FEDERATION}.communication", "int8", "'int8' is not allowed; allowed: a block of keys"),
    (f"{FEDERATION}.communication.precision", "int4", "'int4' is not allowed; "
     "allowed: float32, bfloat16, int8; did you mean 'int8'?"),
    (f"{FEDERATION}.communication.budget_mb", 0, "0 is not allowed; allowed: a number above 0.0"),
    (f"{FEDERATION}.privacy", True, "True is not allowed; allowed: a block of keys"),
    (f"{PRIVACY}.epsilon", 8, "unknown key (value 8); allowed: clipping, side, noise_multiplier, "
     "clipping_norm, target_quantile, clipping_rate, delta, secret"),
    (f"{PRIVACY}.noise_multiplier", 0, "0 is not allowed; allowed: a number above 0.0"),
    (f"{PRIVACY}.delta", 1, "1 is not allowed; allowed: a number below 1.0"),
    (f"{PRIVACY}.clipping", "adaptiv", "'adaptiv' is not allowed; allowed: fixed, adaptive; "
     "did you mean 'adaptive'?"),
    (f"{PRIVACY}.side", "both", "'both' is not allowed; allowed: server, client"),
    (f"{PRIVACY}.secret", 7, "7 is not allowed; allowed: text, so put it in quotes"),
    (f"{EXPERIMENT}.baselines.centralized", True, "unknown key (value True); "
     "did you mean 'centralised'? allowed: centralised, local, threads"),
    (f"{EXPERIMENT}.baselines.local", "some", "'some' is not allowed; allowed: true or false"),
    # blocks that are not there
    (f"{PARTITION}.dataset", "vader-sentimnt", "'vader-sentimnt' is not a block of datasets; "
     "did you mean 'vader-sentiment'? known: vader-sentiment"),
    (f"{EXPERIMENT}.model", "x", "'x' is not a block of models; known: smollm2-135m-instruct"),
    (f"{EXPERIMENT}.partition", "x", "'x' is not a block of partitions; known: by-domain"),
    (f"{EXPERIMENT}.preprocessing", "x", "'x' is not a block of preprocessing; known: sentiment"),
    # SFTConfig's arguments
    (f"{ARGUMENTS}.max_stepz", 1, "SFTConfig has no such argument; did you mean 'max_steps'?"),
    (f"{ARGUMENTS}.max_steps", "ten", "'ten' is not allowed; allowed: a whole number"),
    (f"{ARGUMENTS}.learning_rate", 1, "cannot be set; "
     "use training.learning_rate_max and learning_rate_min"),
    # templates
    (f"{DATA}.derive.label", "{{ rating", "not a valid template: unexpected end of template, "
     "expected 'end of print statement'. (line 1)"),
    (f"{DATA}.filter", "rating >", "not a valid expression: unexpected 'end of template'"),
    ("preprocessing.sentiment.completion", "{% if %}", "not a valid template: Expected an "
     "expression, got 'end of statement block' (line 1)"),
    # values that are wrong together
    (f"{EXPERIMENT}.training.learning_rate_min", 0.5, "0.5 is above learning_rate_max (0.001)"),
    (f"{EXPERIMENT}.federation.min_clients", 5, "5 can never be reached; "
     "fraction_train 1.0 of 4 clients is 4 a round"),
    (f"{EXPERIMENT}.evaluation.choices", ["yes"], "['yes'] is no choice; "
     "give two or more, or none"),
    (f"{EXPERIMENT}.evaluation.choices", ["a", "b", "a"], "'a' stands there twice"),
    ("run", ["quickstart", "quickstart"], "'quickstart' stands there twice"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "told"), ONE, ids=[f"{p}={v}" for p, v, _ in ONE])
def test_one_fault_is_one_line(path, value, told):
    raw = put(RAW, {f"{EXPERIMENT}.training.learning_rate_max": 1e-3, path: value})
    assert faults(raw) == [f"{path}: {told}"]


INSIDE = [
    ("federation.strategy", {"name": "fedadam", "etta": 1}, ".etta: unknown key (value 1); "
     "did you mean 'eta'? allowed: name, eta, tau, beta_1, beta_2"),
    ("federation.strategy", {"name": "fedavg", "mu": 1}, ".mu: unknown key (value 1); "
     "allowed: name"),
    ("federation.strategy", {"name": "fedprx", "mu": 1}, ".name: 'fedprx' is not allowed; "
     f"allowed: {STRATEGIES}; did you mean 'fedprox'?"),
    ("federation.strategy", {"name": "fedprox", "mu": 0}, ".mu: 0 is not allowed; "
     "allowed: a number above 0.0"),
    ("federation.strategy", {"name": "fedprox", "mu": True}, ".mu: True is not allowed; "
     "allowed: a number"),
    ("federation.strategy", {"name": "fedtrimmedavg", "beta": 0.5}, ".beta: 0.5 is not allowed; "
     "allowed: a number below 0.5"),
    ("federation.strategy", {"name": "krum", "malicious": -1}, ".malicious: -1 is not allowed; "
     "allowed: a number of at least 0"),
    ("federation.strategy", {"name": "multikrum", "selected": 2.5}, ".selected: 2.5 is not "
     "allowed; allowed: a whole number"),
    ("lora.ranks", [8, 0], "[1]: 0 is not allowed; allowed: a number of at least 1"),
    ("lora.ranks", [8, "x"], "[1]: 'x' is not allowed; allowed: a whole number"),
    ("lora.ranks", {"column": "domain"}, ".ranks: missing; this key is required"),
    ("lora.ranks", {"column": "domain", "ranks": {"tweets": "x"}}, ".ranks.tweets: 'x' is not "
     "allowed; allowed: a whole number"),
    ("lora.ranks", {"column": "domain", "ranks": {1: 4}}, ".ranks: 1 is not allowed as a key; "
     "allowed: text, so put it in quotes"),
    ("federation", {"result": "best", "evaluate_rows": 0}, ": early_stopping and result: best need "
     "something to look at: fraction_evaluate above 0, or evaluate_rows above 0"),
    ("federation", {"strategy": "bulyan", "rounds": 3, "fraction_train": 0.5}, ".strategy: bulyan "
     "with these parameters wants at least 3 clients in a round; fraction_train 0.5 of 4 clients "
     "is 2; use more clients, or other parameters"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "told"), INSIDE)
def test_a_fault_inside_a_block_has_its_full_path(path, value, told):
    assert faults(put(RAW, {f"{EXPERIMENT}.{path}": value})) == [f"{EXPERIMENT}.{path}{told}"]


def of_blocks(**sections):
    """Faults of the default with more blocks, as `path: what is told`."""
    return faults({**RAW, **{name: RAW[name] | more for name, more in sections.items()}})


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("http://u:p@example.org/a", ".source.url: 'http://u:p@example.org/a' is not allowed; "
         "allowed: an address that starts with https:// or http://, without user and password"),
        ("https://example.org/a?v=1&X-Amz-Signature=abc", ".source.url: the part "
         "'X-Amz-Signature' of the address looks like a secret, and configurations are recorded; "
         "download the file yourself, kind: path"),
    ],
)  # fmt: skip
def test_no_secrets_in_addresses(url, told):
    source = {"kind": "url", "url": url, "sha256": "0" * 64}
    assert of_blocks(datasets={"d": {"source": source}}) == [f"datasets.d{told}"]
    load_configuration(
        {
            **RAW,
            "datasets": RAW["datasets"] | {"d": {"source": source | {"url": "https://a/b?v=1"}}},
        }
    )


def test_mixtures_name_data_sets_that_are_there():
    mixture = {"source": {"kind": "mixture", "datasets": ["vader-sentiment", "vader"]}}
    assert of_blocks(datasets={"mixed": mixture}) == [
        "datasets.mixed.source.datasets[1]: 'vader' is not a block of datasets; "
        "known: vader-sentiment, mixed"
    ]


def test_a_mixture_of_itself():
    def mixture(*members):
        return {"source": {"kind": "mixture", "datasets": ["vader-sentiment", *members]}}

    assert of_blocks(datasets={"a": mixture("b"), "b": mixture("a"), "c": mixture("a")}) == [
        "datasets.a.source.datasets: 'a' would be mixed from itself",
        "datasets.b.source.datasets: 'b' would be mixed from itself",
    ]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"format": {"kind": "csv"}}, ": format has no place beside a mixture: its rows are those "
         "of its data sets, test rows included"),
        ({"test": {"size": 3}}, ": test has no place beside a mixture: its rows are those "
         "of its data sets, test rows included"),
        ({"source": {"kind": "mixture", "datasets": ["x"]}},
         ".source.datasets: ['x'] is not allowed; allowed: a list of at least 2"),
        ({"source": {"kind": "mixture", "datasets": ["x", "x"]}},
         ".source.datasets: 'x' stands there twice"),
        ({"source": {"kind": "mixture", "datasets": ["vader-sentiment", "b"], "weights": [1]}},
         ".source: weights: 1 for 2 datasets; one each"),
    ],
)  # fmt: skip
def test_what_a_mixture_cannot_have(changes, told):
    source = {"kind": "mixture", "datasets": ["vader-sentiment", "b"]}
    other = RAW["datasets"]["vader-sentiment"]
    found = of_blocks(datasets={"b": other, "m": {"source": source} | changes})
    assert found[0] == f"datasets.m{told}"


CUTS = [
    ({"partitioner": "shard"}, ": give one of num_shards_per_partition and shard_size"),
    ({"partitioner": "dirichlet", "alpha": 0}, ".alpha: 0 is not allowed; "
     "allowed: a number above 0, or a list of them"),
    ({"partitioner": "dirichlet", "alpha": [1, 2]},
     ": alpha has 2 entries, but num_partitions is 4"),
    ({"partitioner": "size", "partition_sizes": [1]},
     ": partition_sizes has 1 entries, but num_partitions is 4"),
    ({"partitioner": "iid", "validation_size": 0.5, "test_size": 0.5},
     ": validation_size and test_size together leave no rows to train on"),
    ({"partitioner": "local", "paths": {"a": "a.csv"}},
     ": paths has 1 entries, but num_partitions is 4"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "told"), CUTS)
def test_parameters_of_partitioners(changes, told):
    common = {"dataset": "vader-sentiment", "num_partitions": 4}
    if changes["partitioner"] not in ("size", "local", "iid"):
        common["column"] = "label"
    assert of_blocks(partitions={"p": common | changes}) == [f"partitions.p{told}"]


def test_local_shards_count_themselves():
    paths = {"ward-a": "a.csv", "ward-b": "b.csv"}
    cut = {"dataset": "vader-sentiment", "partitioner": "local", "paths": paths}
    loaded = load_configuration({**RAW, "partitions": RAW["partitions"] | {"wards": cut}})
    assert loaded.partitions["wards"].num_partitions == 2


def test_all_rows_for_the_test_leaves_none_to_train_on():
    only = RAW["datasets"]["vader-sentiment"] | {"test": {"size": "all"}}
    cut = {"dataset": "only", "partitioner": "iid", "num_partitions": 2}
    assert of_blocks(datasets={"only": only}, partitions={"p": cut}) == [
        "partitions.p.dataset: 'only' has test.size: all, so there are no rows to train on; "
        "only partitioner local can do without"
    ]


TEMPLATES = [
    ({"prompt": "x"}, "prompt needs completion beside it"),
    ({"completion": "x"}, "completion needs prompt beside it"),
    ({"text": "x", "prompt": "y", "completion": "z"}, "text and prompt exclude each other"),
    ({"text": "x", "system": "y"}, "system and text exclude each other: plain text has no turns"),
    ({"shape": "text", "system": "y"},
     "system and text exclude each other: plain text has no turns"),
    ({"shape": "alpaca", "prompt": "y", "completion": "z"},
     "shape alpaca and the template prompt exclude each other; "
     "a template says itself what the rows become"),
    ({"column": "turns"}, "column needs shape: messages, sharegpt or text beside it"),
    ({"column": "turns", "prompt": "y", "completion": "z"},
     "column and the template prompt exclude each other"),
]  # fmt: skip


@pytest.mark.parametrize(("block", "told"), TEMPLATES)
def test_templates_that_exclude_each_other(block, told):
    assert of_blocks(preprocessing={"p": block}) == [f"preprocessing.p: {told}"]


def test_an_experiment_of_run_that_is_not_there():
    assert faults(put(RAW, {"run": ["quickstart", "quikstart"]})) == [
        "run[1]: 'quikstart' is not a block of experiments; did you mean 'quickstart'? "
        "known: quickstart"
    ]
    assert faults({"run": ["a"]}) == ["run[0]: 'a' is not a block of experiments; known: none"]


def test_what_is_missing():
    assert faults({}) == ["run: missing; this key is required"]
    assert faults(put(RAW, {SOURCE: {}})) == [
        f"{SOURCE}: key 'kind' is missing; it says which kind this is"
    ]
    assert faults(put(RAW, {SOURCE: {"kind": "hub"}})) == [
        f"{SOURCE}.repo: missing; this key is required",
        f"{SOURCE}.revision: missing; this key is required",
    ]


def test_a_source_of_another_kind_has_other_keys():
    source = {"kind": "path", "path": "model", "sha256": "x"}
    assert faults(put(RAW, {SOURCE: source})) == [
        f"{SOURCE}.sha256: unknown key (value 'x'); allowed: kind, path"
    ]
    load_configuration(
        put(RAW, {SOURCE: {"kind": "hub", "repo": "owner/name", "revision": "main"}})
    )


def test_names_of_blocks_are_names_of_folders():
    words = "text of letters, digits, '_', '.' and '-' that starts with a letter or a digit"
    for name in ("../up", "two words", "", ".hidden", 7):
        preprocessing = RAW["preprocessing"] | {name: {"prompt": "a", "completion": "b"}}
        assert faults(RAW | {"preprocessing": preprocessing}) == [
            f"preprocessing: {name!r} is not allowed as a key; allowed: {words}"
        ]


def test_what_is_no_configuration_at_all():
    for raw in (None, [], "text"):
        assert faults(raw) == [f"(top level): {raw!r} is not allowed; allowed: a block of keys"]


def test_faults_of_every_sort_are_told_at_once():
    changes = {
        "sed": 1,
        f"{SOURCE}.kind": "pipy",
        f"{PARTITION}.num_partitions": "four",
        f"{PARTITION}.dataset": "other",
        f"{EXPERIMENT}.training.learning_rate_min": 1,
        f"{EXPERIMENT}.evaluation.choices": ["a"],
        f"{ARGUMENTS}.max_stepz": 3,
        f"{ARGUMENTS}.seed": 3,
        "run": ["other"],
    }
    told = [line.partition(": ")[0] for line in faults(put(RAW, changes))]
    assert sorted(told) == sorted({**changes, "run[0]": 0}.keys() - {"run"})


def test_long_values_are_cut():
    (line,) = faults(put(RAW, {"report.title": ["x" * 500]}))
    assert len(line) < 120


def test_text_that_is_a_number_becomes_one():
    raw = yaml.safe_load("{learning_rate_max: 1e-2, arguments: {weight_decay: 1e-4}}")
    assert raw == {"learning_rate_max": "1e-2", "arguments": {"weight_decay": "1e-4"}}
    training = (
        load_configuration(put(RAW, {f"{EXPERIMENT}.training": raw}))
        .experiments["quickstart"]
        .training
    )
    assert training.learning_rate_max == 0.01
    assert training.arguments == {"weight_decay": 0.0001}
    raw = yaml.safe_load("{communication: {budget_mb: 1e3}, strategy: {name: fedadam, eta: 1e-1}}")
    assert raw["strategy"]["eta"] == "1e-1"
    federation = (
        load_configuration(put(RAW, {FEDERATION: raw})).experiments["quickstart"].federation
    )
    assert (federation.communication.budget_mb, federation.strategy.eta) == (1000, 0.1)
    federation = (
        load_configuration(put(RAW, {f"{PRIVACY}.delta": "1e-6"}))
        .experiments["quickstart"]
        .federation
    )
    assert federation.privacy.delta == 1e-6


def test_defaults_are_filled_in():
    experiment = load_configuration(RAW).experiments["quickstart"]
    assert experiment.lora.target_modules[0] == "q_proj"
    assert experiment.evaluation.bootstrap == 2000


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(st.sampled_from(["kind", "source", "path", "name", "column", "ranks", 1,
                                       "a b"]), inner, max_size=2),
    max_leaves=5,
), st.sampled_from(["seed", "run", "models", SOURCE, DATA, f"{DATA}.test", PARTITION, "experiments",
                    EXPERIMENT, ARGUMENTS, f"{EXPERIMENT}.lora.target_modules",
                    f"{EXPERIMENT}.lora.ranks", FEDERATION, f"{FEDERATION}.strategy",
                    f"{FEDERATION}.communication", PRIVACY, f"{EXPERIMENT}.baselines"]))  # fmt: skip
def test_whatever_is_written_is_a_configuration_or_is_explained(value, path):
    try:
        load_configuration(put(RAW, {path: value}))
    except ConfigurationError as error:
        assert "input should" not in str(error).lower()


def test_the_names_and_types_are_those_of_sftconfig():
    """They are read from source text; here the class itself is asked."""
    from dataclasses import fields

    from trl import SFTConfig

    known = {field.name for field in fields(SFTConfig) if field.init}
    assert set(sft_arguments.read_annotations()) == known
    assert set(sft_arguments.RESERVED) <= known


def test_the_optimizers_are_those_of_transformers():
    from transformers.training_args import OptimizerNames

    assert sft_arguments.list_optimizers() == ["adopt", *(name.value for name in OptimizerNames)]


def test_people_are_shown_what_is_really_told():
    """The two examples in docs/getting-started.md."""
    text = (FILE.parents[1] / "docs/getting-started.md").read_text(encoding="utf-8")
    wrong = {
        "preprocessing.sentiment.max_length": "long",
        f"{EXPERIMENT}.training.learning_rate_mx": 0.001,
        f"{EXPERIMENT}.partition": "by-domian",
        f"{ARGUMENTS}.lr": 0.001,
    }
    apart = {
        f"{FEDERATION}.strategy": "krum",
        f"{FEDERATION}.aggregation": "flexlora",
        f"{EXPERIMENT}.training.optimizer_state": "fresh",
    }
    for changes in (wrong, apart):
        assert "\n".join(f"  {line}" for line in faults(put(RAW, changes))) + "\n```" in text
