"""Every example of config/examples on an invented file with the columns of its real data set.

The hub cannot be reached from tests, so each example's source is replaced by such a file, and
nothing else; then the rows are made, cut and tokenised, and what would be trained on is read back.
"""

import json
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


def overlaid(below, above):
    """One configuration over another, as Snakemake lays them."""
    both = {k: overlaid(below[k], v) for k, v in above.items() if isinstance(below.get(k), dict)}
    return {**below, **above, **both}


def read(name):
    return yaml.safe_load((ROOT / "config" / name).read_text(encoding="utf-8"))


EXAMPLES = {
    path.name: overlaid(read("config.yaml"), read(f"examples/{path.name}"))
    for path in sorted((ROOT / "config/examples").glob("*.yaml"))
}


def data_of(example):
    """Of experiments on the same data, the first."""
    found = {}
    for name in example["run"]:
        used = example["experiments"][name]
        found.setdefault((used["partition"], used["preprocessing"]), name)
    return found.values()


EXPERIMENTS = [(name, run) for name, example in EXAMPLES.items() for run in data_of(example)]


# Rows with exactly the columns of the real sets, by the repo, package or file they stand for.


def instructions(rows, *, text=False):
    """Alpaca's columns: some without input, one without output, a long one, one twice."""
    for i in range(rows):
        given = "" if i % 3 == 0 else f"number {i}"
        row = {"instruction": f"Say it {i} times.", "input": given, "output": f"It, {i} times."}
        row |= {7: {"output": ""}, 8: {"output": "It. " * 300}}.get(i, {})
        row |= {9: {"instruction": "SAY it 6 times!"}}.get(i, {})
        yield row | ({"text": f"Below is {i}"} if text else {})


def sentiments():
    """Texts that stand there twice, and all nine answers."""
    for i in range(1200):
        answer = SENTIMENTS[i % 600 % 9]
        yield {
            "input": f"Shares rose by {i % 600} cents.",
            "output": answer,
            "instruction": "What is the sentiment of this news? Please choose from {…}.",
        }


def flashcards():
    for i in range(620):
        question = {"input": f"What is bone {i}?", "output": f"Bone {i} is near bone {i + 1}."}
        yield question | {"instruction": "Answer this question truthfully"}


def conversations(rows):
    """A greeting, then up to three questions; the other columns mislead on purpose."""
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


def rated(folder):
    """Four files of id, rating and text, as in the package of the default's data."""
    folder.mkdir()
    for name in ("tweets", "movieReviewSnippets", "amazonReviewSnippets", "nytEditorialSnippets"):
        lines = [f"{i}\t{i % 5 - 2}.5\tA {name} of {i} words" for i in range(500)]
        (folder / f"{name}_GroundTruth.txt").write_text("\n".join(lines) + "\n")


STAND_INS = {
    "yahma/alpaca-cleaned": lambda: instructions(650),
    "HuggingFaceTB/everyday-conversations-llama3.1-2k train_sft": lambda: conversations(2260),
    "HuggingFaceTB/everyday-conversations-llama3.1-2k test_sft": lambda: conversations(119),
    "flwrlabs/alpaca-gpt4": lambda: instructions(650, text=True),
    "flwrlabs/fingpt-sentiment-train": sentiments,
    "flwrlabs/medical-meadow-medical-flashcards": flashcards,
    "flwrlabs/code-alpaca-20k": lambda: instructions(650),
}


def here(source, folder):
    """A source on this machine for one that is not: a file, or a folder of files."""
    if source["kind"] == "path":
        return {"kind": "path", "path": str(ROOT / source["path"])}
    if source["kind"] == "pypi":
        rated(folder / "package")
        return {"kind": "path", "path": str(folder / "package"), "files": source["files"]}
    name = source["repo"] + (f" {source['split']}" if "split" in source else "")
    file = folder / f"{source.get('split', 'train')}.parquet"
    pq.write_table(pa.Table.from_pylist(list(STAND_INS[name]())), file)
    return {"kind": "path", "path": str(file)}


# What is trained on: of a row, the turns that the chat template writes, and where the loss is.


def asked(prompt, completion):
    return [("user", prompt), ("assistant", completion)]


def alpaca_columns(row):
    between = "\n\n" if row["input"] else ""
    return asked(row["instruction"] + between + row["input"], row["output"])


def sentiment(row):
    question = "Classify the sentiment of this text as positive, negative or neutral."
    return asked(f"{question}\n\n{row['text']}", row["label"])


TRAINED_ON = {
    "alpaca": alpaca_columns,
    "chat": lambda row: [(m["role"], m["content"]) for m in row["messages"]],
    "flowertune-general": lambda row: asked(ALPACA.format(row["instruction"]), row["output"]),
    "flowertune-finance": lambda row: asked(
        ALPACA.format(f"{row['instruction']} {row['input']}"), row["output"]
    ),
    "flowertune-medical": lambda row: asked(ALPACA.format(row["input"]), row["output"]),
    "flowertune-code": lambda row: asked(
        ALPACA.format(f"{row['instruction']} {row['input']}"), row["output"]
    ),
    **dict.fromkeys(("iid", "quickstart", "fedavg", "unequal", "private"), sentiment),
    "messages": lambda row: asked(
        "Which team should answer this message: billing, delivery or returns?\n\n" + row["message"],
        row["team"],
    ),
}


def written(turns, tokenizer, limit):
    """ChatML of these turns up to a number of tokens, and of it what has a loss."""
    said = [f"<|im_start|>{role}\n{text}<|im_end|>" for role, text in turns]
    learnt = "".join(f"{text}<|im_end|>" for role, text in turns if role == "assistant")
    ids = tokenizer("\n".join(said), add_special_tokens=False)["input_ids"]
    cut = tokenizer.decode(ids[limit:])
    return "\n".join(said).removesuffix(cut), learnt.removesuffix(cut)


@pytest.fixture
def built(tiny_model, tmp_path, monkeypatch):
    """Builds an experiment's data as the stages do: (example, experiment) -> what came of it.

    That is the three manifests, pairs of a file of rows and one of tokens, and the preprocessing.
    """
    monkeypatch.chdir(ROOT)

    def build(example, experiment):
        raw = json.loads(json.dumps(EXAMPLES[example]))  # YAML's anchors share their blocks
        used = raw["experiments"][experiment]
        name = raw["partitions"][used["partition"]]["dataset"]
        block = raw["datasets"][name]
        for place in (block, block.get("test", {})):
            if "source" in place:
                place["source"] = here(place["source"], tmp_path)
        configuration = load_configuration(raw)
        data, cut, tokens = [tmp_path / part for part in ("dataset", "partition", "preprocessed")]
        for folder in (data, cut, tokens):
            folder.mkdir()
        preprocessing = stage_inputs.preprocess(configuration, used["preprocessing"])
        manifests = (
            build_dataset.build_dataset(stage_inputs.download(configuration, name), data),
            build_partition.build_partition(
                stage_inputs.partition(configuration, used["partition"]), data, cut
            ),
            build_tokenized.tokenize_partition(preprocessing, tiny_model, data, cut, tokens),
        )
        clients = [f"client_{i}" for i in range(len(manifests[1].clients))]
        files = [(cut / f"{client}.parquet", tokens / f"{client}.arrow") for client in clients]
        return manifests, [*files, (data / "test.parquet", tokens / "test.arrow")], preprocessing

    return build


def sequences(file):
    """The examples in an Arrow file, packed or not: lists of (input_ids, labels)."""
    with pa.ipc.open_stream(str(file)) as stream:
        for row in stream.read_all().to_pylist():
            start = 0
            for length in row.get("seq_lengths", [len(row["input_ids"])]):
                end = start + length
                yield row["input_ids"][start:end], row["labels"][start:end]
                start = end


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_a_configuration(example):
    load_configuration(EXAMPLES[example])


def test_no_example_is_left_out():
    assert {experiment for _, experiment in EXPERIMENTS} == set(TRAINED_ON)


@pytest.mark.parametrize(("example", "experiment"), EXPERIMENTS)
def test_what_an_example_trains_on(example, experiment, built, tiny_model):
    _, files, preprocessing = built(example, experiment)
    tokenizer = load_tokenizer(tiny_model)
    for rows, arrow in files:
        expected = Counter()
        for row in pq.read_table(rows).to_pylist():
            turns = TRAINED_ON[experiment](row)
            if turns[-1][1]:  # a row without an answer teaches nothing
                expected[written(turns, tokenizer, preprocessing["max_length"])] += 1
        got = Counter()
        for ids, labels in sequences(arrow):
            learnt = [label for label in labels if label != IGNORE_INDEX]
            got[tokenizer.decode(ids), tokenizer.decode(learnt)] += 1
        assert got == expected, arrow.name
        assert got


def test_what_the_manifests_say_of_instructions(built):
    (data, _, preprocessed), _, _ = built("alpaca.yaml", "alpaca")
    assert (data["rows"]["filtered"], data["rows"]["duplicates"]) == (1, 1)
    assert preprocessed["shape"]["name"] == "alpaca"
    assert preprocessed["shape"]["detected"]
    counts = [*preprocessed["clients"], preprocessed["test"]]
    assert sum(count["truncated"] for count in counts) == 1


def test_what_the_manifests_say_of_a_chat(built):
    (data, cut, preprocessed), _, _ = built("chat.yaml", "chat")
    assert (data["rows"]["train"], data["rows"]["test"]) == (2260, 119)
    assert preprocessed["shape"]["name"] == "messages"
    assert min(client["distance"] for client in cut["clients"]) > 0.3  # clients differ
    for client in preprocessed["clients"]:
        assert client["packed"] < client["rows"] / 2


def test_what_the_manifests_say_of_flowertune(built):
    (data, cut, _), _, _ = built("flowertune.yaml", "flowertune-finance")
    assert data["rows"]["duplicates"] == 600
    assert len(cut["labels"]) == 9


def test_ranks_by_a_column_of_the_data(built, tmp_path):
    """unequal-hardware.yaml names every value that its column has."""
    from blossomtune.training.ranks import resolve_client_ranks

    (_, cut, _), _, _ = built("unequal-hardware.yaml", "unequal")
    names = [client["name"] for client in cut["clients"]]
    lora = load_configuration(EXAMPLES["unequal-hardware.yaml"]).experiments["unequal"].lora
    ranks = dict(zip(names, resolve_client_ranks(lora, tmp_path / "partition", names), strict=True))
    assert ranks == {"tweets": 4, "movieReview": 8, "amazonReview": 8, "nytEditorial": 16}


def test_the_comparison_is_at_equal_steps_and_differs_in_one_thing_at_a_time():
    example = load_configuration(EXAMPLES["comparison.yaml"])
    default = example.experiments["quickstart"]
    plain = example.experiments["fedavg"]
    assert plain.training == default.training
    assert plain.federation == default.federation
    assert plain.lora == default.lora
    told = {"lora": {}, "federation": {}, "training": {}}
    for name in example.run[1:]:
        e = example.experiments[name]
        assert e.model_copy(update={k: getattr(plain, k) for k in (*told, "baselines")}) == plain
        for block, by_name in told.items():
            mine, theirs = getattr(e, block), getattr(plain, block)
            keys = {k for k in type(mine).model_fields if getattr(mine, k) != getattr(theirs, k)}
            by_name[name] = keys
    assert {name for name, keys in told["lora"].items() if keys} == {"flexlora"}
    assert [n for n, keys in told["training"].items() if keys] == ["flexlora"]
    assert told["training"]["flexlora"] == {"optimizer_state"}  # it has nothing to keep one for
    assert all(len(keys) == 1 for keys in told["federation"].values())


def test_epsilon_is_what_the_example_says():
    from blossomtune.privacy.accounting import compute_epsilon

    text = (ROOT / "config/examples/privacy.yaml").read_text(encoding="utf-8")
    whole = load_configuration(EXAMPLES["privacy.yaml"])
    federation = whole.experiments["private"].federation
    clients = whole.partitions["hundred"].num_partitions
    for noise, said in ((1, "epsilon is 13.9 at delta 0.001"), (2, "it is 4.2.")):
        block = federation.privacy.model_copy(update={"noise_multiplier": noise})
        found = compute_epsilon(
            block, clients, federation.count_sampled_clients(clients), federation.rounds
        )
        assert said in text
        assert f"{found['epsilon']:.1f}" in said
        assert found["delta"] == 0.001
