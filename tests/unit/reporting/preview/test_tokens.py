"""Tests of the split of token ids into readable tokens."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import (
    FAMILIES,
    build_all_tokenizers,
    build_byte_tokenizer,
    build_sentencepiece_tokenizer,
)
from tokenizers import decoders

from blossomtune.reporting.preview.tokens import split_tokens

TOKENIZERS = {name: tokenizer for name, (tokenizer, _) in build_all_tokenizers().items()}
CHATML = TOKENIZERS["chatml"]
TEXTS = st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from(" \n\ufffdé好👩"))


def split(tokenizer, ids, is_learnt=None):
    return list(split_tokens(tokenizer, ids, is_learnt or [False] * len(ids)))


def encode(tokenizer, text):
    return tokenizer(text, add_special_tokens=False)["input_ids"]


@pytest.mark.parametrize("name", TOKENIZERS)
@given(texts=st.lists(TEXTS, min_size=2, max_size=4))
def test_tokens_join_to_the_ids_and_to_the_decoded_text(name, texts):
    tokenizer = TOKENIZERS[name]
    ids = encode(tokenizer, FAMILIES[name.split("-")[0]][2].join(texts))
    tokens = split(tokenizer, ids)
    assert [i for token in tokens for i in token.ids] == ids
    shown = "".join(t.text for t in tokens if t.text != f"id {' '.join(map(str, t.ids))}")
    assert shown == tokenizer.decode(ids, skip_special_tokens=False)


@pytest.mark.parametrize("name", ["chatml", "mistral-sentencepiece"])
@given(text=st.text(st.sampled_from("aé好👩\ufffd \n"), min_size=1))
def test_bytes_of_one_character_are_one_token(name, text):
    tokenizer = TOKENIZERS[name]
    shown = [token.text for token in split(tokenizer, encode(tokenizer, f"x{text}"))]
    assert [c for piece in shown for c in piece if c == "\ufffd"] == ["\ufffd"] * text.count(
        "\ufffd"
    )
    if "\ufffd" not in text:
        assert all(len(piece) == 1 for piece in shown)


def test_a_row_of_replacement_characters_is_split():
    assert [t.text for t in split(CHATML, encode(CHATML, "\ufffd\ufffd a"))] == [
        *("\ufffd", "\ufffd", " ", "a")
    ]


def test_control_tokens_are_told_from_the_same_text_in_plain_tokens():
    plain = [i for c in "<|im_end|>" for i in encode(CHATML, c)]
    end = CHATML.convert_tokens_to_ids("<|im_end|>")
    tokens = split(CHATML, [*plain, end])
    assert "".join(t.text for t in tokens[:-1]) == tokens[-1].text == "<|im_end|>"
    assert [t.is_control for t in tokens] == [False] * len(plain) + [True]


def test_a_character_that_is_cut_keeps_the_control_token_behind_it_apart():
    ids = [*encode(CHATML, "好")[:2], CHATML.convert_tokens_to_ids("<|im_end|>")]
    tokens = split(CHATML, ids)
    assert [t.text for t in tokens] == ["\ufffd", "<|im_end|>"]
    assert [t.is_control for t in tokens] == [False, True]


def test_a_character_is_not_joined_over_the_border_of_what_is_learnt():
    ids = encode(CHATML, "好")
    tokens = split(CHATML, ids, [False, True, True])
    assert [(t.ids, t.is_learnt) for t in tokens] == [
        ((ids[0],), False),
        (tuple(ids[1:]), True),
    ]
    assert all("\ufffd" in t.text for t in tokens)


def test_merged_tokens_stay_single_tokens():
    tokenizer = build_byte_tokenizer(
        *FAMILIES["chatml"][:4], merges=[("o", "d"), ("g", "o"), ("go", "od")]
    )
    assert [t.text for t in split(tokenizer, encode(tokenizer, "good"))] == ["good"]


def test_words_keep_the_space_that_a_decoder_strips_from_a_text():
    """The decoder of Llama 2 drops the first space, so also that of a single token."""
    tokenizer = build_sentencepiece_tokenizer(*FAMILIES["mistral"][:4])
    strip = decoders.Strip(" ", 1, 0)
    plain = tokenizer.backend_tokenizer
    plain.decoder = decoders.Sequence([plain.decoder, strip])
    word, space = (tokenizer.convert_tokens_to_ids(piece) for piece in ("▁good", "▁"))
    assert tokenizer.decode([word]) == "good"
    assert [t.text for t in split(tokenizer, [word, word])] == ["good", " good"]
    assert [t.text for t in split(tokenizer, [space, word])] == [f"id {space}", " good"]
