"""What the trainer sees, token by token, for chat templates of four families."""

from itertools import groupby
from types import SimpleNamespace

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import MOVING, build_all_tokenizers, build_byte_tokenizer

from blossomtune.config.preprocessing import PreprocessingSettings
from blossomtune.data.sources.file_formats import write_parquet
from blossomtune.data.tokenization import formats
from blossomtune.data.tokenization.row_groups import RowGroup, RowGroupTokenizer
from blossomtune.modeling.encoding import IGNORE_INDEX

TOKENIZERS = build_all_tokenizers()
SYSTEM = [
    "chatml",
    "chatml-sentencepiece",
    "llama3",
    "llama3-sentencepiece",
]  # that have such turns
TALK = [
    ("user", "Good g or bad?"),
    ("assistant", "good one"),
    ("user", "x] and y?"),
    ("assistant", "bad 🌸"),
]


def conversation(*turns):
    return [{"role": role, "content": content} for role, content in turns]


def work(folder, tokenizer, rows, *, held_out=False, **given):
    table = pa.Table.from_pylist(rows)
    write_parquet(table.to_batches(), table.schema, folder / "rows.parquet")
    config = PreprocessingSettings.model_validate(given).model_dump(mode="json")
    made = RowGroupTokenizer(config, formats.resolve_format(config, table.schema), tokenizer)
    return made(RowGroup(folder / "rows.parquet", 0, 0, held_out))


def see(folder, tokenizer, rows, **given):
    part = work(folder, tokenizer, rows, **given)
    assert not any(part.row_errors.values()), part.row_errors
    return part.batch.to_pylist()


def learned(tokenizer, example):
    """The runs of tokens that the loss is on, as text."""
    pairs = zip(example["input_ids"], example["labels"], strict=True)
    runs = groupby(pairs, key=lambda pair: pair[1] != IGNORE_INDEX)
    runs = [list(run) for counted, run in runs if counted]
    assert all(token == label for run in runs for token, label in run)
    return [tokenizer.decode([token for token, _ in run]) for run in runs]


def once(tokenizer, example, end, ends):
    """One BOS, and the end of turn as often as there are turns."""
    ids, bos = example["input_ids"], tokenizer.bos_token_id
    assert ids.count(bos) == (bos is not None)
    assert bos is None or ids[0] == bos
    assert ids.count(tokenizer.convert_tokens_to_ids(end)) == ends
    if tokenizer.eos_token != end:
        assert tokenizer.eos_token_id not in ids


@pytest.fixture(params=TOKENIZERS)
def family(request):
    return request.param, *TOKENIZERS[request.param]


@pytest.mark.parametrize("turns", [2, 4])
@pytest.mark.parametrize("loss", ["every_turn", "last_turn"])
def test_conversations(family, tmp_path, turns, loss):
    name, tokenizer, end = family
    talk = conversation(*TALK[:turns])
    (example,) = see(tmp_path, tokenizer, [{"messages": talk}], loss=loss)
    written = tokenizer.apply_chat_template(talk, tokenize=False).rstrip()
    assert example["input_ids"] == tokenizer(written, add_special_tokens=False)["input_ids"]
    answers = [turn["content"] for turn in talk if turn["role"] == "assistant"]
    space = " " if "mistral" in name else ""
    said = [f"{space}{answer}{end}" for answer in answers]
    assert learned(tokenizer, example) == (said if loss == "every_turn" else said[-1:])
    once(tokenizer, example, end, len(answers) if "mistral" in name else turns)


@pytest.mark.parametrize("name", SYSTEM)
def test_a_system_turn_is_seen_and_not_learned(tmp_path, name):
    tokenizer, end = TOKENIZERS[name]
    rows = [{"messages": conversation(*TALK), "how": "brief"}]
    (example,) = see(tmp_path, tokenizer, rows, system="Be {{ how }}.")
    talk = conversation(("system", "Be brief."), *TALK)
    written = tokenizer.apply_chat_template(talk, tokenize=False).rstrip()
    assert tokenizer.decode(example["input_ids"]) == written
    assert learned(tokenizer, example) == [f"good one{end}", f"bad 🌸{end}"]
    once(tokenizer, example, end, 5)


def test_plain_text(family, tmp_path):
    _, tokenizer, _ = family
    (example,) = see(tmp_path, tokenizer, [{"text": "good 🌸"}])
    assert example["labels"] == example["input_ids"]
    text = tokenizer.decode(example["input_ids"])
    assert text.replace(" ", "") == f"{tokenizer.bos_token or ''}good🌸{tokenizer.eos_token}"
    once(tokenizer, example, tokenizer.eos_token, 1)


def test_truncated_on_the_right_up_to_the_last_answer(family, tmp_path):
    _, tokenizer, _ = family
    rows = [{"messages": conversation(*TALK)}]
    (full,) = see(tmp_path, tokenizer, rows, held_out=True)
    answers = [i for i, label in enumerate(full["labels"]) if label != IGNORE_INDEX]
    second = next(i for i in answers if i - 1 not in answers and i != answers[0])
    first = [i for i in answers if i < second]
    for limit in (max(8, first[0] + 1), first[-1], second - 1, second, second + 1, answers[-1]):
        part = work(tmp_path, tokenizer, rows, held_out=True, max_length=limit, too_long="truncate")
        (cut,) = part.batch.to_pylist()
        left = max(i for i in answers if i < limit) + 1
        assert cut["input_ids"] == full["input_ids"][:left]
        assert cut["labels"] == full["labels"][:left]
        assert cut["labels"][-1] != IGNORE_INDEX
        assert part.counts.truncated == 1
        later = limit > second
        assert cut["completion"] == ("bad 🌸" if later else "good one")
        assert (cut["prompt"] == full["prompt"]) == later
        assert full["prompt"].startswith(cut["prompt"])
    too_long = work(tmp_path, tokenizer, rows, max_length=max(8, first[0]), too_long="truncate")
    if first[0] >= 8:
        assert too_long.batch is None
        assert (too_long.counts.dropped["too_long"], too_long.counts.truncated) == (1, 0)


def test_packed(family, tmp_path):
    _, tokenizer, _ = family
    rows = [{"messages": conversation(*TALK[: 2 + 2 * (i % 2)])} for i in range(5)]
    rows += [{"messages": conversation(("user", "x" * i), ("assistant", "y"))} for i in range(20)]
    alone = see(tmp_path, tokenizer, rows)
    packed = see(tmp_path, tokenizer, rows, packing=True, max_length=160)
    examples = []
    for sequence in packed:
        assert sum(sequence["seq_lengths"]) == len(sequence["input_ids"]) <= 160
        start = 0
        for length in sequence["seq_lengths"]:
            inside = slice(start, start + length)
            examples.append((sequence["input_ids"][inside], sequence["labels"][inside]))
            start += length
    assert len(packed) < len(rows)
    assert sorted(examples) == sorted((e["input_ids"], e["labels"]) for e in alone)


def test_test_sets_keep_their_texts_and_are_never_packed(family, tmp_path):
    _, tokenizer, _ = family
    rows = [{"messages": conversation(*TALK)}]
    (example,) = see(tmp_path, tokenizer, rows, held_out=True, packing=True)
    assert list(example) == ["row", "input_ids", "labels", "prompt", "completion"]
    asked = tokenizer.apply_chat_template(
        conversation(*TALK[:3]), tokenize=False, add_generation_prompt=True
    )
    assert (example["prompt"], example["completion"]) == (asked, "bad 🌸")
    (text,) = see(tmp_path, tokenizer, [{"text": "good"}], held_out=True)
    assert (text["prompt"], text["completion"]) == ("", "good")


def test_what_the_model_says_before_it_is_asked_is_not_learned(tmp_path):
    tokenizer, end = TOKENIZERS["chatml"]
    rows = [{"messages": conversation(("assistant", "Hello!"), *TALK)}]
    (example,) = see(tmp_path, tokenizer, rows)
    assert tokenizer.decode(example["input_ids"]).startswith(f"<|im_start|>assistant\nHello!{end}")
    assert learned(tokenizer, example) == [f"good one{end}", f"bad 🌸{end}"]


def test_a_template_that_refuses_some_rows_refuses_only_these(tmp_path):
    tokenizer, _ = TOKENIZERS["gemma"]
    wrong = conversation(TALK[0], *TALK)
    rows = [{"messages": wrong if i in (3, 7) else conversation(*TALK)} for i in range(10)]
    part = work(tmp_path, tokenizer, rows)
    assert part.batch["row"].to_pylist() == [0, 1, 2, 4, 5, 6, 8, 9]
    assert [problem.row for problem in part.row_errors["unrenderable"]] == [3, 7]
    assert str(part.row_errors["unrenderable"][0].reason) == (
        "the model's chat template refuses these turns: roles must alternate"
    )


REWRITES = (
    "the model's chat template rewrites earlier turns, so that not every turn can be learned from "
    "at once\n  hint: loss: last_turn trains on the last answer alone"
)


@pytest.mark.parametrize(
    "template",
    [
        MOVING,
        # what a turn ends with is not in the text, so that nothing says where answers end
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}",
    ],
)
def test_templates_with_which_only_the_last_turn_can_be_learned(tmp_path, template):
    tokenizer = build_byte_tokenizer(template, "<s>", "</s>", [])
    rows = [{"messages": conversation(("system", "Be brief."), *TALK)}]
    part = work(tmp_path, tokenizer, rows)
    assert [str(problem.reason) for problem in part.row_errors["unrenderable"]] == [REWRITES]
    (example,) = see(tmp_path, tokenizer, rows, loss="last_turn")
    assert [text.strip() for text in learned(tokenizer, example)] == ["bad 🌸</s>"]


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)
SAID = TEXT.filter(str.strip)


@given(
    rows=st.lists(st.fixed_dictionaries({"a": TEXT, "b": SAID}), min_size=1, max_size=4),
    prompt=st.tuples(TEXT, TEXT),
    completion=st.tuples(TEXT, TEXT),
    name=st.sampled_from([name for name in TOKENIZERS if "sentencepiece" not in name]),
)
@settings(max_examples=150)
def test_templates_decode_to_the_rendered_completion_and_its_end(
    tmp_path_factory, rows, prompt, completion, name
):
    tokenizer, end = TOKENIZERS[name]
    before, after = (
        "{{ " + repr(left) + " }}{{ " + key + " }}{{ " + repr(right) + " }}"
        for (left, right), key in ((prompt, "a"), (completion, "b"))
    )
    examples = see(
        tmp_path_factory.mktemp("rows"), tokenizer, rows, prompt=before, completion=after
    )
    for row, example in zip(rows, examples, strict=True):
        space = " " if "mistral" in name else ""
        said = completion[0] + row["b"] + completion[1]
        assert learned(tokenizer, example) == [f"{space}{said}{end}"]
        asked = example["input_ids"][: example["labels"].count(IGNORE_INDEX)]
        text = tokenizer.apply_chat_template(
            conversation(("user", prompt[0] + row["a"] + prompt[1])),
            tokenize=False,
            add_generation_prompt=True,
        )
        assert asked == tokenizer(text, add_special_tokens=False)["input_ids"]


@given(
    talks=st.lists(st.lists(st.tuples(SAID, SAID), min_size=1, max_size=4), min_size=1, max_size=3),
    name=st.sampled_from(sorted(TOKENIZERS)),
)
@settings(max_examples=150)
def test_conversations_are_what_the_template_writes(tmp_path_factory, talks, name):
    tokenizer, end = TOKENIZERS[name]
    rows = [
        {
            "conversations": [
                {"from": who, "value": text}
                for pair in talk
                for who, text in zip(("human", "gpt"), pair, strict=True)
            ]
        }
        for talk in talks
    ]
    examples = see(tmp_path_factory.mktemp("rows"), tokenizer, rows)
    for talk, example in zip(talks, examples, strict=True):
        said = [answer.strip() for _, answer in talk]
        assert [t.strip() for t in learned(tokenizer, example)] == [f"{s}{end}" for s in said]


def prepared(tokenizer, rows, **given):
    """What SFTTrainer makes of rows before it trains."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    arguments = {"use_cpu": True, "bf16": False, "shuffle_dataset": False, **given}
    config = SFTConfig(output_dir="unused", report_to=[], **arguments)
    trainer = SimpleNamespace(
        _tokenizer=tokenizer, chat_template=None, completion_only_loss="prompt" in rows[0]
    )
    return SFTTrainer._prepare_dataset(
        trainer, Dataset.from_list(rows), tokenizer, config, config.packing, None, "train"
    ).to_list()


def same(ours, theirs, tokenizer):
    """TRL's rows go on after the last end of turn, with the template's line break."""
    for one, other in zip(ours, theirs, strict=True):
        length = len(one["input_ids"])
        assert one["input_ids"] == other["input_ids"][:length]
        assert one["labels"] == other["labels"][:length]
        assert tokenizer.decode(other["input_ids"][length:]).strip() == ""


def test_the_same_as_trl_makes_of_conversations(tmp_path):
    tokenizer, _ = TOKENIZERS["chatml"]
    rows = [{"messages": conversation(*TALK[:2])}, {"messages": conversation(*TALK)}]
    theirs = prepared(tokenizer, rows, assistant_only_loss=True)
    same(see(tmp_path, tokenizer, rows), theirs, tokenizer)


@pytest.mark.parametrize("name", ["chatml", "llama3", "gemma", "mistral", "mistral-sentencepiece"])
def test_the_same_as_trl_makes_of_prompt_and_completion(tmp_path, name):
    tokenizer, _ = TOKENIZERS[name]
    rows = [{"a": "Good or bad?", "b": "good"}, {"a": "x", "b": "y 🌸"}]
    pairs = [
        {
            "prompt": conversation(("user", row["a"])),
            "completion": conversation(("assistant", row["b"])),
        }
        for row in rows
    ]
    templates = {"prompt": "{{ a }}", "completion": "{{ b }}"}
    ours = see(tmp_path, tokenizer, rows, **templates)
    for limit in (len(ours[0]["input_ids"]) - 2, 512):
        theirs = prepared(tokenizer, pairs, max_length=limit)
        cut = [{key: e[key][:limit] for key in ("input_ids", "labels")} for e in ours]
        part = work(tmp_path, tokenizer, rows, max_length=limit, too_long="truncate", **templates)
        cut = [c for c in cut if set(c["labels"]) != {IGNORE_INDEX}]
        assert [{k: e[k] for k in ("input_ids", "labels")} for e in part.batch.to_pylist()] == cut
        same(cut, theirs, tokenizer)


@pytest.mark.parametrize("packing", [False, True])
def test_the_same_as_trl_makes_of_text(family, tmp_path, packing):
    _, tokenizer, _ = family
    eos = tokenizer.eos_token
    rows = [{"text": text} for text in ("good", f"bad{eos}", "x" * 30, "a b", *"abcdefgh")]
    ours = see(tmp_path, tokenizer, rows, packing=packing, max_length=40)
    theirs = prepared(tokenizer, rows, packing=packing, max_length=40)
    columns = ["input_ids", "labels", *(["seq_lengths"] if packing else [])]
    assert [{c: e[c] for c in columns} for e in ours] == [
        {c: e[c] for c in columns} for e in theirs
    ]
