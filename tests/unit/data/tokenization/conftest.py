"""Fixtures of the tests of tokenization."""

import pytest
from chat_families import FAMILIES
from chat_rows import save_tokenizer, tokenize_rows


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Return the folder of the families' tokenizers."""
    return tmp_path_factory.mktemp("chat_models")


@pytest.fixture
def tokenize(models, tmp_path):
    """Return a function that tokenizes rows with a family's chat template."""

    def tokenize_with(name, *rows, **config):
        arguments = FAMILIES[name].arguments | config.pop("chat_template_arguments", {})
        model = save_tokenizer(name, models)
        return tokenize_rows(tmp_path, model, rows, chat_template_arguments=arguments, **config)

    return tokenize_with
