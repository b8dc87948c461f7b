"""Build small tokenizers with the chat templates of four model families."""

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

# TRL masks by `generation`; it writes nothing
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% if m.role == 'assistant' %}"
    "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}"
    "{% else %}{{ m.content }}<|im_end|>{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
ALTERNATE = (
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('roles must alternate') }}{% endif %}"
)
GEMMA = (
    "{{ bos_token }}{% for m in messages %}"
    "{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    + ALTERNATE
    + "<start_of_turn>{{ 'model' if m.role == 'assistant' else m.role }}\n"
    "{{ m.content | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
MISTRAL = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]"
    "{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)
# writes its system turn before the last user's, as Mistral 7B v0.3 does
MOVING = (
    "{{ bos_token }}{% if messages[0].role == 'system' %}{% set system = messages[0].content %}"
    "{% set messages = messages[1:] %}{% endif %}{% for m in messages %}{% if m.role == 'user' %}"
    "[INST] {% if loop.last and system %}{{ system }}\n\n{% endif %}{{ m.content }} [/INST]"
    "{% else %} {{ m.content }}{{ eos_token }}{% endif %}{% endfor %}"
)

# name: chat template, BOS, EOS, other special tokens, token that ends a turn
FAMILIES = {
    "chatml": (CHATML, None, "<|im_end|>", ["<|im_start|>"], "<|im_end|>"),
    "llama3": (
        LLAMA3,
        "<|begin_of_text|>",
        "<|end_of_text|>",
        ["<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"],
        "<|eot_id|>",
    ),
    "gemma": (GEMMA, "<bos>", "<eos>", ["<start_of_turn>", "<end_of_turn>"], "<end_of_turn>"),
    "mistral": (MISTRAL, "<s>", "</s>", [], "</s>"),
}


def build_byte_tokenizer(template, bos, eos, others, merges=(), plain_tokens=()):
    """Return a tokenizer of bytes, plus the tokens that ``merges`` make of them.

    Args:
        template: Chat template.
        bos: Token that starts a text, or None.
        eos: Token that ends a text, or None.
        others: More special tokens.
        merges: Pairs of pieces that become one token.
        plain_tokens: Added tokens that are not special, as `<think>` in Qwen 3.
    """
    special = [token for token in (bos, eos, *others) if token]
    pieces = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet()), *map("".join, merges)]
    plain = Tokenizer(models.BPE({piece: i for i, piece in enumerate(pieces)}, list(merges)))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    plain.decoder = decoders.ByteLevel()
    plain.add_tokens([AddedToken(token, normalized=False) for token in plain_tokens])
    return _wrap(plain, special, template, bos, eos)


def build_sentencepiece_tokenizer(template, bos, eos, others, *, legacy=False, merges=()):
    """Return a tokenizer that writes "▁" for a space, and one before the first word of a text.

    Args:
        template: Chat template.
        bos: Token that starts a text, or None.
        eos: Token that ends a text, or None.
        others: More special tokens.
        legacy: Write "▁" also before the first word after a special token.
        merges: Pairs of pieces that become one token.
    """
    special = [token for token in (bos, eos, *others) if token]
    words = [("▁", "g"), ("o", "d"), ("▁g", "o"), ("▁go", "od"), *merges]
    pieces = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *map(chr, range(33, 127)), "▁"]
    pieces += map("".join, words)
    plain = Tokenizer(
        models.BPE({piece: i for i, piece in enumerate(pieces)}, words, byte_fallback=True)
    )
    if legacy:
        plain.normalizer = normalizers.Sequence(
            [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
        )
    else:
        plain.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    plain.decoder = decoders.Sequence(
        [decoders.Replace(Regex("▁"), " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    return _wrap(plain, special, template, bos, eos)


def _wrap(plain, special, template, bos, eos):
    from transformers import PreTrainedTokenizerFast

    plain.add_special_tokens(special)
    if bos:  # real tokenizers add one, too: the cause of a second BOS
        plain.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, special.index(bos))]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, bos_token=bos, eos_token=eos, chat_template=template
    )


def build_all_tokenizers():
    """Return each family's byte and SentencePiece tokenizers: name to (tokenizer, end of turn)."""
    tokenizers = {}
    for name, (*parts, end) in FAMILIES.items():
        tokenizers[name] = build_byte_tokenizer(*parts), end
        tokenizers[f"{name}-sentencepiece"] = build_sentencepiece_tokenizer(*parts), end
    *parts, end = FAMILIES["mistral"]
    tokenizers["mistral-legacy"] = build_sentencepiece_tokenizer(*parts, legacy=True), end
    return tokenizers
