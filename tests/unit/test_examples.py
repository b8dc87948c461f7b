"""Tests of config/examples, on generated files with the columns of the real data sets.

Tests have no network, so only the sources are replaced. The rows are built, partitioned and
tokenized; then the tokens that would be trained on are compared with expected ones.
"""

import json
import random
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from blossomtune.config import stage_inputs
from blossomtune.config.load import load_configuration
from blossomtune.data.partitioning import build_partition
from blossomtune.data.preparation import build_dataset
from blossomtune.data.tokenization import build_tokenized
from blossomtune.modeling.encoding import IGNORE_INDEX
from blossomtune.modeling.tokenizer import load_tokenizer

ROOT = Path(__file__).parents[2]
ALPACA = (
    "Below is an instruction that describes a task. Write a response that appropriately "
    "completes the request.\n### Instruction:\n{}\n### Response:"
)
GRADES = ("strong", "moderately", "mildly")
SENTIMENTS = ["negative", "neutral", "positive"]
SENTIMENTS += [f"{grade} {side}" for grade in GRADES for side in ("negative", "positive")]


def overlay(base, update):
    """Return one configuration updated by another, as Snakemake does."""
    both = {k: overlay(base[k], v) for k, v in update.items() if isinstance(base.get(k), dict)}
    return {**base, **update, **both}


def read_yaml(name):
    return yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8"))


EXAMPLES = {
    path.name: overlay(read_yaml("config.yaml"), read_yaml(f"examples/{path.name}"))
    for path in sorted((ROOT / "config/examples").glob("*.yaml"))
}


def list_experiments(example):
    """Return the first experiment of each combination of partition and preprocessing."""
    names = {}
    for name in example["run"]:
        experiment = example["experiments"][name]
        names.setdefault((experiment["partition"], experiment["preprocessing"]), name)
    return names.values()


EXPERIMENTS = [
    (name, run) for name, example in EXAMPLES.items() for run in list_experiments(example)
]


def generate_instructions(rows, *, text=False):
    """Yield rows like Alpaca's: without input, without output, long, or repeated."""
    for i in range(rows):
        text_input = "" if i % 3 == 0 else f"number {i}"
        row = {
            "instruction": f"Say it {i} times.",
            "input": text_input,
            "output": f"It, {i} times.",
        }
        row |= {7: {"output": ""}, 8: {"output": "It. " * 300}}.get(i, {})
        row |= {9: {"instruction": "SAY it 6 times!"}}.get(i, {})
        yield row | ({"text": f"Below is {i}"} if text else {})


def generate_sentiments():
    """Yield each text twice, with all nine answers."""
    for i in range(1200):
        answer = SENTIMENTS[i % 600 % 9]
        yield {
            "input": f"Shares rose by {i % 600} cents.",
            "output": answer,
            "instruction": "What is the sentiment of this news? Please choose from {…}.",
        }


def generate_flashcards():
    for i in range(620):
        question = {"input": f"What is bone {i}?", "output": f"Bone {i} is near bone {i + 1}."}
        yield question | {"instruction": "Answer this question truthfully"}


def generate_conversations(rows):
    """Yield a greeting and up to three questions; the other columns are misleading on purpose."""
    for i in range(rows):
        turns = ["Hi", "Hello! How can I help?"]
        for turn in range(1 + i % 3):
            turns += [f"What of {i}, and {turn}?", f"Of {i}: {turn}."]
        roles = ["user", "assistant"] * (len(turns) // 2)
        topic, messages = f"Topic {i % 63}", zip(roles, turns, strict=True)
        yield {
            "topic": topic,
            "subtopic": "any",
            "subsubtopic": "thing",
            "full_topic": f"{topic}/any/thing",
            "prompt": "Generate a conversation.",
            "completion": "User: Hi",
            "token_length": i,
            "messages": [{"content": text, "role": role} for role, text in messages],
        }


def write_ratings(folder):
    """Write four files of id, rating and text, as in the package of the default's data.

    The words differ from row to row: rows like those of the test would be dropped as leaks.
    """
    folder.mkdir()
    random_words = random.Random(0)
    for name in ("tweets", "movieReviewSnippets", "amazonReviewSnippets", "nytEditorialSnippets"):
        lines = []
        for i in range(500):
            words = " ".join(f"w{random_words.randrange(1000)}" for _ in range(8))
            lines.append(f"{i}\t{i % 5 - 2}.5\tA {name} of {words}")
        (folder / f"{name}_GroundTruth.txt").write_text("\n".join(lines) + "\n")


def write_instructions(folder):
    """Write rows of all kinds of task, some too long, as in the archive of LLaMA-Factory."""
    verbs = ["Rewrite", "Classify", "Generate", "List", "What", "Given"]
    instructions = [
        {"instruction": f"{verbs[i % 6]} number {i}.", "input": "", "output": f"It is {i}."}
        | ({"output": "It. " * 101} if i % 50 == 0 else {})
        for i in range(300)
    ]
    file = folder / "llamafactory-0.9.5/data/alpaca_en_demo.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(instructions))


PACKAGES = {"vaderSentiment": write_ratings, "llamafactory": write_instructions}
GENERATORS = {
    "yahma/alpaca-cleaned": lambda: generate_instructions(650),
    "HuggingFaceTB/everyday-conversations-llama3.1-2k train_sft": lambda: generate_conversations(
        2260
    ),
    "HuggingFaceTB/everyday-conversations-llama3.1-2k test_sft": lambda: generate_conversations(
        119
    ),
    "flwrlabs/alpaca-gpt4": lambda: generate_instructions(650, text=True),
    "flwrlabs/fingpt-sentiment-train": generate_sentiments,
    "flwrlabs/medical-meadow-medical-flashcards": generate_flashcards,
    "flwrlabs/code-alpaca-20k": lambda: generate_instructions(650),
}


def replace_source(source, folder):
    """Return a local source with the files that a source has."""
    if source["kind"] == "path":
        return {"kind": "path", "path": str(ROOT / source["path"])}
    if source["kind"] == "pypi":
        PACKAGES[source["package"]](folder / "package")
        return {"kind": "path", "path": str(folder / "package"), "files": source["files"]}
    name = source["repo"] + (f" {source['split']}" if "split" in source else "")
    file = folder / f"{source.get('split', 'train')}.parquet"
    pq.write_table(pa.Table.from_pylist(list(GENERATORS[name]())), file)
    return {"kind": "path", "path": str(file)}


def build_turns(prompt, completion):
    return [("user", prompt), ("assistant", completion)]


def alpaca_columns(row):
    separator = "\n\n" if row["input"] else ""
    return build_turns(row["instruction"] + separator + row["input"], row["output"])


def sentiment(row):
    question = "Classify the sentiment of this text as positive, negative or neutral."
    return build_turns(f"{question}\n\n{row['text']}", row["label"])


TRAINED_ON = {
    **dict.fromkeys(("alpaca", "one-task-each", "mixed"), alpaca_columns),
    "chat": lambda row: [(m["role"], m["content"]) for m in row["messages"]],
    "flowertune-general": lambda row: build_turns(ALPACA.format(row["instruction"]), row["output"]),
    "flowertune-finance": lambda row: build_turns(
        ALPACA.format(f"{row['instruction']} {row['input']}"), row["output"]
    ),
    "flowertune-medical": lambda row: build_turns(ALPACA.format(row["input"]), row["output"]),
    "flowertune-code": lambda row: build_turns(
        ALPACA.format(f"{row['instruction']} {row['input']}"), row["output"]
    ),
    **dict.fromkeys(("iid", "quickstart", "fedavg", "unequal", "private"), sentiment),
    "messages": lambda row: build_turns(
        "Which team should answer this message: billing, delivery or returns?\n\n" + row["message"],
        row["team"],
    ),
}


def render(turns, tokenizer, limit):
    """Return ChatML of the turns up to a number of tokens, and the part with a loss."""
    messages = [f"<|im_start|>{role}\n{text}<|im_end|>" for role, text in turns]
    answers = "".join(f"{text}<|im_end|>" for role, text in turns if role == "assistant")
    ids = tokenizer("\n".join(messages), add_special_tokens=False)["input_ids"]
    truncated = tokenizer.decode(ids[limit:])
    return "\n".join(messages).removesuffix(truncated), answers.removesuffix(truncated)


@pytest.fixture
def build_data(tiny_model, tmp_path, monkeypatch):
    """Return a function that builds an experiment's data as the stages do.

    (example, experiment) -> (manifests, pairs of a file of rows and one of tokens, preprocessing).
    """
    monkeypatch.chdir(ROOT)

    def build(example, experiment):
        raw = json.loads(json.dumps(EXAMPLES[example]))  # YAML's anchors share their blocks
        names = raw["experiments"][experiment]
        name = raw["partitions"][names["partition"]]["dataset"]
        block = raw["datasets"][name]
        for place in (block, block.get("test", {})):
            if "source" in place:
                place["source"] = replace_source(place["source"], tmp_path)
        configuration = load_configuration(raw)
        data, partition, tokens = [
            tmp_path / part for part in ("dataset", "partition", "preprocessed")
        ]
        for folder in (data, partition, tokens):
            folder.mkdir()
        preprocessing = stage_inputs.preprocess(configuration, names["preprocessing"])
        manifests = (
            build_dataset.build_dataset(stage_inputs.download(configuration, name), data),
            build_partition.build_partition(
                stage_inputs.partition(configuration, names["partition"]), data, partition
            ),
            build_tokenized.tokenize_partition(preprocessing, tiny_model, data, partition, tokens),
        )
        clients = [f"client_{i}" for i in range(len(manifests[1].clients))]
        files = [
            (partition / f"{client}.parquet", tokens / f"{client}.arrow") for client in clients
        ]
        return manifests, [*files, (data / "test.parquet", tokens / "test.arrow")], preprocessing

    return build


def iterate_examples(file):
    """Yield (input_ids, labels) of the examples in an Arrow file, packed or not."""
    with pa.ipc.open_stream(str(file)) as stream:
        for row in stream.read_all().to_pylist():
            start = 0
            for length in row.get("seq_lengths", [len(row["input_ids"])]):
                end = start + length
                yield row["input_ids"][start:end], row["labels"][start:end]
                start = end


@pytest.mark.parametrize("example", EXAMPLES)
def test_example_is_valid(example):
    load_configuration(EXAMPLES[example])


def test_all_experiments_have_an_expectation():
    assert {experiment for _, experiment in EXPERIMENTS} == set(TRAINED_ON)


@pytest.mark.parametrize(("example", "experiment"), EXPERIMENTS)
def test_example_trains_on_the_expected_tokens(example, experiment, build_data, tiny_model):
    _, files, preprocessing = build_data(example, experiment)
    tokenizer = load_tokenizer(tiny_model)
    for rows, arrow in files:
        expected = Counter()
        for row in pq.read_table(rows).to_pylist():
            turns = TRAINED_ON[experiment](row)
            if turns[-1][1]:  # rows without an answer are dropped
                expected[render(turns, tokenizer, preprocessing["max_length"])] += 1
        actual = Counter()
        for ids, labels in iterate_examples(arrow):
            answer = [label for label in labels if label != IGNORE_INDEX]
            actual[tokenizer.decode(ids), tokenizer.decode(answer)] += 1
        assert actual == expected, arrow.name
        assert actual


def test_manifests_of_instructions(build_data):
    (data, _, preprocessed), _, _ = build_data("alpaca.yaml", "alpaca")
    assert (data.rows.filtered, data.rows.duplicates) == (1, 1)
    assert preprocessed.shape.name == "alpaca"
    assert preprocessed.shape.detected
    counts = [*preprocessed.clients, preprocessed.test]
    assert sum(count.truncated for count in counts) == 1


def test_clients_of_the_instructions_have_a_kind_of_task_each(build_data):
    (data, partition, _), _, _ = build_data("instruction.yaml", "one-task-each")
    assert (data.rows.filtered, data.rows.test) == (6, 96)
    tasks = {"rewrite", "classify", "write", "list", "answer", "other"}
    assert {client.name for client in partition.clients} == tasks


def test_manifests_of_a_chat(build_data):
    (data, partition, preprocessed), _, _ = build_data("chat.yaml", "chat")
    assert (data.rows.train, data.rows.test) == (2260, 119)
    assert preprocessed.shape.name == "messages"
    assert min(client.distance for client in partition.clients) > 0.3  # clients differ
    for client in preprocessed.clients:
        assert client.packed < client.rows / 2


def test_manifests_of_flowertune(build_data):
    (data, partition, _), _, _ = build_data("flowertune.yaml", "flowertune-finance")
    assert data.rows.duplicates == 600
    assert len(partition.labels) == 9


def test_ranks_by_column_cover_all_values(build_data, tmp_path):
    """Check that unequal-hardware.yaml names every value of its column."""
    from blossomtune.training.ranks import resolve_client_ranks

    (_, partition, _), _, _ = build_data("unequal-hardware.yaml", "unequal")
    names = partition.client_names
    lora = load_configuration(EXAMPLES["unequal-hardware.yaml"]).experiments["unequal"].lora
    ranks = dict(zip(names, resolve_client_ranks(lora, tmp_path / "partition", names), strict=True))
    assert ranks == {"tweets": 4, "movieReview": 8, "amazonReview": 8, "nytEditorial": 16}


def test_experiments_of_the_comparison_differ_in_one_setting():
    example = load_configuration(EXAMPLES["comparison.yaml"])
    default = example.experiments["quickstart"]
    plain = example.experiments["fedavg"]
    assert plain.training == default.training
    assert plain.federation == default.federation
    assert plain.lora == default.lora
    changed_keys = {"lora": {}, "federation": {}, "training": {}}
    for name in example.run[1:]:
        e = example.experiments[name]
        assert (
            e.model_copy(update={k: getattr(plain, k) for k in (*changed_keys, "baselines")})
            == plain
        )
        for block, by_name in changed_keys.items():
            ours, reference = getattr(e, block), getattr(plain, block)
            fields = type(ours).model_fields
            by_name[name] = {k for k in fields if getattr(ours, k) != getattr(reference, k)}
    assert {name for name, keys in changed_keys["lora"].items() if keys} == {"flexlora"}
    assert [n for n, keys in changed_keys["training"].items() if keys] == ["flexlora"]
    assert changed_keys["training"]["flexlora"] == {
        "optimizer_state"
    }  # flexlora cannot keep the state
    assert all(len(keys) == 1 for keys in changed_keys["federation"].values())


def test_epsilon_in_the_comments_is_right():
    from blossomtune.privacy.accounting import compute_epsilon

    text = (ROOT / "config/examples/privacy.yaml").read_text(encoding="utf-8")
    configuration = load_configuration(EXAMPLES["privacy.yaml"])
    federation = configuration.experiments["private"].federation
    clients = configuration.partitions["hundred"].num_partitions
    for noise, comment in ((1, "epsilon is 9.0 at delta 0.001"), (2, "it is 2.3.")):
        block = federation.privacy.model_copy(update={"noise_multiplier": noise})
        spent = compute_epsilon(
            block, clients, federation.count_sampled_clients(clients), federation.rounds
        )
        assert comment in text
        assert f"{spent['epsilon']:.1f}" in comment
        assert spent["delta"] == 0.001
