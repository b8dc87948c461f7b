"""Tests of token ids and labels, for chat templates of four families."""

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
from blossomtune.modeling.chat_template import ChatTemplate
from blossomtune.modeling.encoding import IGNORE_INDEX

TOKENIZERS = build_all_tokenizers()
# families whose templates accept a system message
SYSTEM = ["chatml", "chatml-sentencepiece", "llama3", "llama3-sentencepiece"]
TALK = [
    ("user", "Good g or bad?"),
    ("assistant", "good one"),
    ("user", "x] and y?"),
    ("assistant", "bad 🌸"),
]


def make_messages(*turns):
    return [{"role": role, "content": content} for role, content in turns]


def tokenize(folder, tokenizer, rows, *, held_out=False, **settings):
    """Tokenize rows as one row group."""
    table = pa.Table.from_pylist(rows)
    write_parquet(table.to_batches(), table.schema, folder / "rows.parquet")
    config = PreprocessingSettings.model_validate(settings).model_dump(mode="json")
    template = ChatTemplate(tokenizer, config["chat_template_arguments"])
    row_format = formats.resolve_format(config, table.schema)
    tokenize_group = RowGroupTokenizer(config, row_format, template)
    return tokenize_group(RowGroup(folder / "rows.parquet", 0, 0, held_out))


def build_examples(folder, tokenizer, rows, **settings):
    """Return the examples of rows that have no errors."""
    part = tokenize(folder, tokenizer, rows, **settings)
    assert not any(part.row_errors.values()), part.row_errors
    return part.batch.to_pylist()


def decode_completions(tokenizer, example):
    """Return the runs of tokens with a label, as text."""
    pairs = zip(example["input_ids"], example["labels"], strict=True)
    runs = groupby(pairs, key=lambda pair: pair[1] != IGNORE_INDEX)
    runs = [list(run) for has_label, run in runs if has_label]
    assert all(token == label for run in runs for token, label in run)
    return [tokenizer.decode([token for token, _ in run]) for run in runs]


def check_special_tokens(tokenizer, example, end, num_ends):
    """Check for one BOS and the expected number of end-of-turn tokens."""
    ids, bos = example["input_ids"], tokenizer.bos_token_id
    assert ids.count(bos) == (bos is not None)
    assert bos is None or ids[0] == bos
    assert ids.count(tokenizer.convert_tokens_to_ids(end)) == num_ends
    if tokenizer.eos_token != end:
        assert tokenizer.eos_token_id not in ids


@pytest.fixture(params=TOKENIZERS)
def family(request):
    return request.param, *TOKENIZERS[request.param]


@pytest.mark.parametrize("turns", [2, 4])
@pytest.mark.parametrize("loss", ["every_turn", "last_turn"])
def test_conversation_equals_the_chat_template(family, tmp_path, turns, loss):
    name, tokenizer, end = family
    talk = make_messages(*TALK[:turns])
    (example,) = build_examples(tmp_path, tokenizer, [{"messages": talk}], loss=loss)
    written = tokenizer.apply_chat_template(talk, tokenize=False).rstrip()
    assert example["input_ids"] == tokenizer(written, add_special_tokens=False)["input_ids"]
    answers = [turn["content"] for turn in talk if turn["role"] == "assistant"]
    space = " " if "mistral" in name else ""
    completions = [f"{space}{answer}{end}" for answer in answers]
    assert decode_completions(tokenizer, example) == (
        completions if loss == "every_turn" else completions[-1:]
    )
    check_special_tokens(tokenizer, example, end, len(answers) if "mistral" in name else turns)


@pytest.mark.parametrize("name", SYSTEM)
def test_system_message_has_no_labels(tmp_path, name):
    tokenizer, end = TOKENIZERS[name]
    rows = [{"messages": make_messages(*TALK), "how": "brief"}]
    (example,) = build_examples(tmp_path, tokenizer, rows, system="Be {{ how }}.")
    talk = make_messages(("system", "Be brief."), *TALK)
    written = tokenizer.apply_chat_template(talk, tokenize=False).rstrip()
    assert tokenizer.decode(example["input_ids"]) == written
    assert decode_completions(tokenizer, example) == [f"good one{end}", f"bad 🌸{end}"]
    check_special_tokens(tokenizer, example, end, 5)


def test_plain_text_is_labelled_completely(family, tmp_path):
    _, tokenizer, _ = family
    (example,) = build_examples(tmp_path, tokenizer, [{"text": "good 🌸"}])
    assert example["labels"] == example["input_ids"]
    text = tokenizer.decode(example["input_ids"])
    assert text.replace(" ", "") == f"{tokenizer.bos_token or ''}good🌸{tokenizer.eos_token}"
    check_special_tokens(tokenizer, example, tokenizer.eos_token, 1)


def test_truncation_ends_with_a_completion(family, tmp_path):
    _, tokenizer, _ = family
    rows = [{"messages": make_messages(*TALK)}]
    (full,) = build_examples(tmp_path, tokenizer, rows, held_out=True)
    answers = [i for i, label in enumerate(full["labels"]) if label != IGNORE_INDEX]
    second = next(i for i in answers if i - 1 not in answers and i != answers[0])
    first = [i for i in answers if i < second]
    for limit in (max(8, first[0] + 1), first[-1], second - 1, second, second + 1, answers[-1]):
        part = tokenize(
            tmp_path, tokenizer, rows, held_out=True, max_length=limit, too_long="truncate"
        )
        (truncated,) = part.batch.to_pylist()
        end = max(i for i in answers if i < limit) + 1
        assert truncated["input_ids"] == full["input_ids"][:end]
        assert truncated["labels"] == full["labels"][:end]
        assert truncated["labels"][-1] != IGNORE_INDEX
        assert part.counts.truncated == 1
        has_second = limit > second
        assert truncated["completion"] == ("bad 🌸" if has_second else "good one")
        assert (truncated["prompt"] == full["prompt"]) == has_second
        assert full["prompt"].startswith(truncated["prompt"])
    too_long = tokenize(tmp_path, tokenizer, rows, max_length=max(8, first[0]), too_long="truncate")
    if first[0] >= 8:
        assert too_long.batch is None
        assert (too_long.counts.dropped["too_long"], too_long.counts.truncated) == (1, 0)


def test_packing_keeps_examples(family, tmp_path):
    _, tokenizer, _ = family
    rows = [{"messages": make_messages(*TALK[: 2 + 2 * (i % 2)])} for i in range(5)]
    rows += [{"messages": make_messages(("user", "x" * i), ("assistant", "y"))} for i in range(20)]
    unpacked = build_examples(tmp_path, tokenizer, rows)
    packed = build_examples(tmp_path, tokenizer, rows, packing=True, max_length=160)
    examples = []
    for sequence in packed:
        assert sum(sequence["seq_lengths"]) == len(sequence["input_ids"]) <= 160
        start = 0
        for length in sequence["seq_lengths"]:
            span = slice(start, start + length)
            examples.append((sequence["input_ids"][span], sequence["labels"][span]))
            start += length
    assert len(packed) < len(rows)
    assert sorted(examples) == sorted((e["input_ids"], e["labels"]) for e in unpacked)


def test_held_out_rows_keep_texts_and_are_not_packed(family, tmp_path):
    _, tokenizer, _ = family
    rows = [{"messages": make_messages(*TALK)}]
    (example,) = build_examples(tmp_path, tokenizer, rows, held_out=True, packing=True)
    assert list(example) == [
        "row",
        "input_ids",
        "labels",
        "prompt",
        "completion",
        "references",
        "question",
        "tool_calls",
    ]
    prompt = tokenizer.apply_chat_template(
        make_messages(*TALK[:3]), tokenize=False, add_generation_prompt=True
    )
    assert (example["prompt"], example["completion"]) == (prompt, "bad 🌸")
    assert (example["question"], example["tool_calls"]) == (make_messages(*TALK)[2]["content"], "")
    (text,) = build_examples(tmp_path, tokenizer, [{"text": "good"}], held_out=True)
    assert (text["prompt"], text["completion"]) == ("", "good")


def test_message_before_the_first_user_has_no_labels(tmp_path):
    tokenizer, end = TOKENIZERS["chatml"]
    rows = [{"messages": make_messages(("assistant", "Hello!"), *TALK)}]
    (example,) = build_examples(tmp_path, tokenizer, rows)
    assert tokenizer.decode(example["input_ids"]).startswith(f"<|im_start|>assistant\nHello!{end}")
    assert decode_completions(tokenizer, example) == [f"good one{end}", f"bad 🌸{end}"]


def test_only_rows_refused_by_the_template_are_dropped(tmp_path):
    tokenizer, _ = TOKENIZERS["gemma"]
    refused = make_messages(TALK[0], *TALK)
    rows = [{"messages": refused if i in (3, 7) else make_messages(*TALK)} for i in range(10)]
    part = tokenize(tmp_path, tokenizer, rows)
    assert part.batch["row"].to_pylist() == [0, 1, 2, 4, 5, 6, 8, 9]
    assert [error.row for error in part.row_errors["unrenderable"]] == [3, 7]
    assert str(part.row_errors["unrenderable"][0].reason) == (
        "the model's chat template refuses these turns: roles must alternate"
    )


@pytest.mark.parametrize(
    "template",
    [
        MOVING,
        # the end of a turn is not in the text
        "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}"
        "{% if add_generation_prompt %}assistant: {% endif %}",
    ],
)
def test_template_that_rewrites_earlier_turns_makes_an_example_per_answer(tmp_path, template):
    tokenizer = build_byte_tokenizer(template, "<s>", "</s>", [])
    talk = make_messages(("system", "Be brief."), *TALK)
    rows = [{"messages": talk}]
    examples = build_examples(tmp_path, tokenizer, rows)
    for example, end in zip(examples, (3, 5), strict=True):
        (answer,) = decode_completions(tokenizer, example)
        assert answer.strip() == talk[end - 1]["content"] + "</s>"
        prompt = tokenizer.apply_chat_template(
            talk[: end - 1], tokenize=False, add_generation_prompt=True
        )
        assert tokenizer.decode(example["input_ids"]) == prompt + answer
    assert build_examples(tmp_path, tokenizer, rows, loss="last_turn") == examples[1:]
    (held_out,) = build_examples(tmp_path, tokenizer, rows, held_out=True)
    assert held_out["input_ids"] == examples[1]["input_ids"]


TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)
NON_EMPTY = TEXT.filter(str.strip)


@given(
    rows=st.lists(st.fixed_dictionaries({"a": TEXT, "b": NON_EMPTY}), min_size=1, max_size=4),
    prompt=st.tuples(TEXT, TEXT),
    completion=st.tuples(TEXT, TEXT),
    name=st.sampled_from([name for name in TOKENIZERS if "sentencepiece" not in name]),
)
@settings(max_examples=60)
def test_completion_decodes_to_the_rendered_template(
    tmp_path_factory, rows, prompt, completion, name
):
    tokenizer, end = TOKENIZERS[name]
    before, after = (
        "{{ " + repr(left) + " }}{{ " + key + " }}{{ " + repr(right) + " }}"
        for (left, right), key in ((prompt, "a"), (completion, "b"))
    )
    examples = build_examples(
        tmp_path_factory.mktemp("rows"), tokenizer, rows, prompt=before, completion=after
    )
    for row, example in zip(rows, examples, strict=True):
        space = " " if "mistral" in name else ""
        text = completion[0] + row["b"] + completion[1]
        text = text.strip() if name in ("llama3", "gemma") else text  # their templates strip
        assert decode_completions(tokenizer, example) == [f"{space}{text}{end}"]
        prompt_ids = example["input_ids"][: example["labels"].count(IGNORE_INDEX)]
        prompt_text = tokenizer.apply_chat_template(
            make_messages(("user", prompt[0] + row["a"] + prompt[1])),
            tokenize=False,
            add_generation_prompt=True,
        )
        assert prompt_ids == tokenizer(prompt_text, add_special_tokens=False)["input_ids"]


@given(
    talks=st.lists(
        st.lists(st.tuples(NON_EMPTY, NON_EMPTY), min_size=1, max_size=4), min_size=1, max_size=3
    ),
    name=st.sampled_from(sorted(TOKENIZERS)),
)
@settings(max_examples=60)
def test_conversations_decode_to_their_answers(tmp_path_factory, talks, name):
    tokenizer, end = TOKENIZERS[name]
    rows = [
        {
            "conversations": [
                {"from": role, "value": text}
                for pair in talk
                for role, text in zip(("human", "gpt"), pair, strict=True)
            ]
        }
        for talk in talks
    ]
    examples = build_examples(tmp_path_factory.mktemp("rows"), tokenizer, rows)
    for talk, example in zip(talks, examples, strict=True):
        texts = [text.removesuffix(end) for text in decode_completions(tokenizer, example)]
        assert [text.strip() for text in texts] == [answer.strip() for _, answer in talk]


def prepare_with_trl(tokenizer, rows, **changes):
    """Return the examples that TRL's SFTTrainer builds of rows."""
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    arguments = {"use_cpu": True, "bf16": False, "shuffle_dataset": False, **changes}
    config = SFTConfig(output_dir="unused", report_to=[], **arguments)
    trainer = SimpleNamespace(
        _tokenizer=tokenizer, chat_template=None, completion_only_loss="prompt" in rows[0]
    )
    return SFTTrainer._prepare_dataset(
        trainer, Dataset.from_list(rows), tokenizer, config, config.packing, None, "train"
    ).to_list()


def check_equals_trl(ours, theirs, tokenizer):
    """Compare examples; TRL's have the template's line break after the last end of turn."""
    for one, other in zip(ours, theirs, strict=True):
        length = len(one["input_ids"])
        assert one["input_ids"] == other["input_ids"][:length]
        assert one["labels"] == other["labels"][:length]
        assert tokenizer.decode(other["input_ids"][length:]).strip() == ""


def test_conversations_equal_trls(tmp_path):
    tokenizer, _ = TOKENIZERS["chatml"]
    rows = [{"messages": make_messages(*TALK[:2])}, {"messages": make_messages(*TALK)}]
    theirs = prepare_with_trl(tokenizer, rows, assistant_only_loss=True)
    check_equals_trl(build_examples(tmp_path, tokenizer, rows), theirs, tokenizer)


@pytest.mark.parametrize("name", ["chatml", "llama3", "gemma", "mistral", "mistral-sentencepiece"])
def test_prompts_and_completions_equal_trls(tmp_path, name):
    tokenizer, _ = TOKENIZERS[name]
    rows = [{"a": "Good or bad?", "b": "good"}, {"a": "x", "b": "y 🌸"}]
    pairs = [
        {
            "prompt": make_messages(("user", row["a"])),
            "completion": make_messages(("assistant", row["b"])),
        }
        for row in rows
    ]
    templates = {"prompt": "{{ a }}", "completion": "{{ b }}"}
    ours = build_examples(tmp_path, tokenizer, rows, **templates)
    for limit in (len(ours[0]["input_ids"]) - 2, 512):
        theirs = prepare_with_trl(tokenizer, pairs, max_length=limit)
        expected = [{key: e[key][:limit] for key in ("input_ids", "labels")} for e in ours]
        part = tokenize(
            tmp_path, tokenizer, rows, max_length=limit, too_long="truncate", **templates
        )
        expected = [e for e in expected if set(e["labels"]) != {IGNORE_INDEX}]
        assert [
            {k: e[k] for k in ("input_ids", "labels")} for e in part.batch.to_pylist()
        ] == expected
        check_equals_trl(expected, theirs, tokenizer)


@pytest.mark.parametrize("packing", [False, True])
def test_texts_equal_trls(family, tmp_path, packing):
    _, tokenizer, _ = family
    eos = tokenizer.eos_token
    rows = [{"text": text} for text in ("good", f"bad{eos}", "x" * 30, "a b", *"abcdefgh")]
    settings = {"max_length": 40, "control_tokens": "keep"}
    ours = build_examples(tmp_path, tokenizer, rows, packing=packing, **settings)
    theirs = prepare_with_trl(tokenizer, rows, packing=packing, max_length=40)
    columns = ["input_ids", "labels", *(["seq_lengths"] if packing else [])]
    assert [{c: e[c] for c in columns} for e in ours] == [
        {c: e[c] for c in columns} for e in theirs
    ]
