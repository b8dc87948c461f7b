"""Tiny assets: a model that loads in milliseconds, with a real tokenizer and chat template."""

import pytest

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory):
    """A Hugging Face directory: 2-layer Llama of hidden size 32, bytes as tokens, ChatML."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    special = ["<pad>", "<|im_start|>", "<|im_end|>"]
    alphabet = special + sorted(pre_tokenizers.ByteLevel.alphabet())
    plain = Tokenizer(models.BPE({token: i for i, token in enumerate(alphabet)}, merges=[]))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    plain.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=plain,
        pad_token="<pad>",
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        chat_template=CHATML,
    )
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(alphabet),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=1024,
            initializer_range=0.3,  # far from uniform, so that answers differ
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
        )
    )
    directory = tmp_path_factory.mktemp("models") / "tiny"
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


@pytest.fixture
def held_out_files(tiny_model, tmp_path):
    """Writes held-out rows as download and preprocess do: (columns) -> (preprocessed, dataset)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from blossomtune.encoding import encode, load_tokenizer, prompt_text

    def write(texts, labels, **columns):
        tokenizer = load_tokenizer(tiny_model)
        prompts = [prompt_text(tokenizer, text) for text in texts]
        pairs = [encode(tokenizer, p, c) for p, c in zip(prompts, labels, strict=True)]
        integers = pa.list_(pa.int32())
        table = pa.table(
            {
                "row": pa.array(range(len(texts)), pa.int32()),
                "input_ids": pa.array([ids for ids, _ in pairs], integers),
                "labels": pa.array([marked for _, marked in pairs], integers),
                "prompt": prompts,
                "completion": labels,
            }
        )
        preprocessed, dataset = tmp_path / "preprocessed", tmp_path / "dataset"
        preprocessed.mkdir()
        dataset.mkdir()
        with pa.ipc.new_stream(str(preprocessed / "test.arrow"), table.schema) as stream:
            stream.write_table(table)
        pq.write_table(
            pa.table({"text": texts, "label": labels, **columns}), dataset / "test.parquet"
        )
        return preprocessed, dataset

    return write
