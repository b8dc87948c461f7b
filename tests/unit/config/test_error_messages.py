"""Tests of the messages about wrong keys and values."""

import pytest
from config_samples import (
    ARGUMENTS,
    DATA,
    EXPERIMENT,
    FEDERATION,
    FILE,
    PARTITION,
    PRIVACY,
    RAW,
    SOURCE,
    get_errors,
    set_values,
)

STRATEGIES = (
    "fedavg, fedprox, fedavgm, fedadagrad, fedadam, fedyogi, fedmedian, fedtrimmedavg, krum, "
    "multikrum, bulyan, scaffold"
)


ERRORS = [
    # unknown keys
    ("sed", 1, "unknown key (value 1); did you mean 'seed'? allowed: seed, run, container, models, "
     "datasets, partitions, preprocessing, experiments, tracking, report"),
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
    # one of several choices
    (f"{SOURCE}.distribution", "wheels", "'wheels' is not allowed; allowed: wheel, sdist; "
     "did you mean 'wheel'?"),
    (f"{EXPERIMENT}.federation.engine", "kubernetes", "'kubernetes' is not allowed; "
     "allowed: simulation, process, docker, apptainer, slurm, external, flower"),
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
    # training on the clients
    (f"{EXPERIMENT}.publish.repo", "name", "'name' is not allowed; "
     "allowed: `owner/name` of a model on the Hugging Face hub"),
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
    # federation
    (f"{FEDERATION}.fraction_evaluate", 1.5, "1.5 is not allowed; "
     "allowed: a number of at most 1.0"),
    (f"{FEDERATION}.gpus_per_client", 1.5, "1.5 is not allowed; "
     "allowed: auto, a share of a GPU from 0 to 1, or a number of whole GPUs"),
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
    # keys of earlier versions
    (f"{EXPERIMENT}.controls", {"local": True}, "this key has a new name; rename it to "
     "'baselines'"),
    (f"{EXPERIMENT}.baselines.controls", 1, "unknown key (value 1); did you mean 'centralised'? "
     "allowed: centralised, local, threads"),
    # references to blocks that do not exist
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
    ("preprocessing.sentiment.prompt", "{{ Question text }}", "not a valid template: expected "
     "token 'end of print statement', got 'text' (line 1); "
     'write {{ row["any name"] }} for a column whose name is no plain word'),
    (f"{DATA}.filter", "2nd > 3", "not a valid expression: chunk after expression; "
     'write row["any name"] for a column whose name is no plain word'),
    ("preprocessing.sentiment.prompt", "{{ " + "(" * 3000 + "1" + ")" * 3000 + " }}",
     "not a valid template: nested too deeply"),
    (f"{DATA}.filter", "+".join(["1"] * 3000), "not a valid expression: nested too deeply"),
    # conflicting values
    (f"{EXPERIMENT}.training.learning_rate_min", 0.5, "0.5 is above learning_rate_max (0.001)"),
    (f"{EXPERIMENT}.federation.min_clients", 5, "5 can never be reached; "
     "fraction_train 1.0 of 4 clients is 4 a round"),
    (f"{EXPERIMENT}.federation.min_available_clients", 5, "5 can never be reached; "
     "the partition has 4 clients"),
    (f"{EXPERIMENT}.evaluation.choices", ["yes"], "['yes'] is no choice; "
     "give two or more, or none"),
    (f"{EXPERIMENT}.evaluation.choices", ["a", "b", "a"], "'a' is listed twice"),
    ("run", ["quickstart", "quickstart"], "'quickstart' is listed twice"),
    (f"{EXPERIMENT}.evaluation.choices", 3, "3 is not allowed; allowed: a list"),
    (f"{EXPERIMENT}.evaluation.metrics", [], "[] is not allowed; allowed: a list that is not "
     "empty"),
    (f"{EXPERIMENT}.evaluation.answer", "(", "'(' is no valid regular expression: missing ), "
     "unterminated subpattern at position 0"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "value", "message"), ERRORS, ids=[f"{p}={v}" for p, v, _ in ERRORS]
)
def test_one_error_is_one_line(path, value, message):
    raw = set_values(RAW, {f"{EXPERIMENT}.training.learning_rate_max": 1e-3, path: value})
    assert get_errors(raw) == [f"{path}: {message}"]


NESTED_ERRORS = [
    ("evaluation.choices", {"column": "a", "scor": "label"}, ".scor: unknown key (value 'label'); "
     "did you mean 'score'? allowed: column, score"),
    ("evaluation.choices", {"score": "text"}, ".column: missing; this key is required"),
    ("evaluation.choices", {"column": "a", "score": "txt"}, ".score: 'txt' is not allowed; "
     "allowed: text, label; did you mean 'text'?"),
    ("evaluation.metrics", ["rogue_l"], "[0]: 'rogue_l' is not allowed; allowed: exact_match, "
     "normalized_exact_match, token_f1, rouge_l, chrf, numeric_match, json_valid, "
     "tool_call_match; did you mean 'rouge_l'?"),
    ("federation.engine", {"name": "simulation", "address": "head"}, ".address: 'head' is not "
     "allowed; allowed: auto, or HOST:PORT or ray://HOST:PORT of the head of a Ray cluster"),
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
     "with these parameters needs at least 3 clients in a round; fraction_train 0.5 of 4 clients "
     "is 2; use more clients, or other parameters"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "message"), NESTED_ERRORS)
def test_error_in_a_block_has_its_full_path(path, value, message):
    assert get_errors(set_values(RAW, {f"{EXPERIMENT}.{path}": value})) == [
        f"{EXPERIMENT}.{path}{message}"
    ]


def test_missing_keys_are_reported():
    assert get_errors({}) == ["run: missing; this key is required"]
    assert get_errors(set_values(RAW, {SOURCE: {}})) == [
        f"{SOURCE}: key 'kind' is missing; it says which kind this is"
    ]
    assert get_errors(set_values(RAW, {SOURCE: {"kind": "hub"}})) == [
        f"{SOURCE}.repo: missing; this key is required",
        f"{SOURCE}.revision: missing; this key is required",
    ]


def test_names_of_blocks_must_be_names_of_folders():
    allowed = "text of letters, digits, '_', '.' and '-' that starts with a letter or a digit"
    for name in ("../up", "two words", "", ".hidden", 7):
        preprocessing = RAW["preprocessing"] | {name: {"prompt": "a", "completion": "b"}}
        assert get_errors(RAW | {"preprocessing": preprocessing}) == [
            f"preprocessing: {name!r} is not allowed as a key; allowed: {allowed}"
        ]


def test_long_values_are_abbreviated():
    (line,) = get_errors(set_values(RAW, {"report.title": ["x" * 500]}))
    assert len(line) < 120


def test_examples_in_the_documentation_are_real():
    """The two examples in docs/getting-started.md."""
    text = (FILE.parents[1] / "docs/getting-started.md").read_text(encoding="utf-8")
    invalid = {
        "preprocessing.sentiment.max_length": "long",
        f"{EXPERIMENT}.training.learning_rate_mx": 0.001,
        f"{EXPERIMENT}.partition": "by-domian",
        f"{ARGUMENTS}.lr": 0.001,
    }
    conflicting = {
        f"{FEDERATION}.strategy": "krum",
        f"{FEDERATION}.aggregation": "flexlora",
        f"{EXPERIMENT}.training.optimizer_state": "fresh",
    }
    for changes in (invalid, conflicting):
        assert (
            "\n".join(f"  {line}" for line in get_errors(set_values(RAW, changes))) + "\n```"
            in text
        )
