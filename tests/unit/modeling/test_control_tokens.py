"""Tests of control tokens in the text of rows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import build_all_tokenizers

from blossomtune.errors import UserError
from blossomtune.modeling.chat_template import ChatTemplate
from blossomtune.modeling.control_tokens import ControlTokens
from blossomtune.modeling.encoding import encode_texts

TOKENIZERS = build_all_tokenizers()


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request):
    return TOKENIZERS[request.param][0]


def test_tokens_are_found_removed_and_seen_at_the_end(tokenizer):
    eos, tokens = tokenizer.eos_token, ControlTokens(tokenizer)
    text = f"a{eos}b{eos}"
    assert tokens.find(text) == [eos]
    assert tokens.find("a < b | c") == []
    assert tokens.remove(text) == "ab"
    assert tokens.find_trailing(text) == eos
    assert tokens.find_trailing("ab") is None


def test_escaping_is_undone_and_off_by_default(tokenizer):
    text = f"a{tokenizer.eos_token}b"
    tokens = ControlTokens(tokenizer, escape=True)
    escaped = tokens.escape(text)
    assert tokens.find(escaped) == []
    assert tokens.has_escaped(escaped)
    assert tokens.unescape(escaped) == text
    assert ControlTokens(tokenizer).escape(text) == text
    assert not ControlTokens(tokenizer).has_escaped(escaped)


def test_private_characters_are_refused_where_they_are_needed(tokenizer):
    text = "a\U00108000b"
    assert ControlTokens(tokenizer).escape(text) == text
    with pytest.raises(UserError, match=r"private character U\+108000"):
        ControlTokens(tokenizer, escape=True).escape(text)


@given(data=st.data(), name=st.sampled_from(sorted(TOKENIZERS)))
def test_escaped_tokens_are_encoded_as_their_characters(data, name):
    tokenizer, _ = TOKENIZERS[name]
    special = tokenizer.all_special_tokens
    plain = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Co"]), max_size=8)
    text = "".join(data.draw(st.lists(plain | st.sampled_from(special), max_size=6)))
    template = ChatTemplate(tokenizer, escape_control_tokens=True)
    (ids,) = encode_texts(template, [template.control_tokens.escape(f"x{text}x")])
    ids = ids[tokenizer.bos_token is not None : -1]
    assert not set(ids) & set(tokenizer.all_special_ids)
    decoded = "".join(tokenizer.decode(ids, skip_special_tokens=False))
    assert decoded.removeprefix(" ") == f"x{text}x"


def test_ids_equal_the_tokenizers_without_control_tokens(tokenizer):
    tokens = ControlTokens(tokenizer, escape=True)
    texts = ["good 🌸", f"a {tokenizer.eos_token} good", " x"]
    expected = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    assert tokens.encode(texts, add_special_tokens=False) == expected  # not escaped: still control


def test_tokenizer_without_compiled_backend_is_refused():
    from transformers import ByT5Tokenizer

    tokens = ControlTokens(ByT5Tokenizer(), escape=True)
    with pytest.raises(UserError, match="control_tokens: text needs a tokenizer"):
        tokens.encode([tokens.escape("a</s>")], add_special_tokens=False)
