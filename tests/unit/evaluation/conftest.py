"""Held-out rows, adapters of baselines, and random models."""

import pytest
import torch
from evaluation_samples import LABELS, TEXTS, load_rows
from prompt_samples import MODELS

from blossomtune.artifacts.checksums import write_checksums
from blossomtune.config.lora import LoraSettings
from blossomtune.modeling.load import load_model


@pytest.fixture
def files(held_out_files):
    return held_out_files(TEXTS, LABELS, domain=["a", "b"] * 6)


@pytest.fixture
def rows(files):
    return load_rows(files).rows


@pytest.fixture(scope="module")
def adapters(tiny_model, tmp_path_factory):
    """Return a folder with adapters of three baselines, large enough to change answers."""
    from blossomtune.training import adapter, adapter_files

    home, lora = tmp_path_factory.mktemp("baselines"), LoraSettings(r=2)
    for i, name in enumerate(("centralised", "local_0", "local_1")):
        model = adapter.build_peft_model(load_model(tiny_model), lora, seed=i)
        torch.manual_seed(i)
        state = {
            n: torch.randn_like(value) / 4 for n, value in adapter.get_adapter_state(model).items()
        }
        adapter_files.save_adapter(state, lora, "tiny", home / name)
        write_checksums(home / name, "train_baseline")
    return home


@pytest.fixture(scope="module", params=MODELS.values(), ids=MODELS)
def random_model(request):
    """Return a model of each kind of cache."""
    torch.manual_seed(0)
    return request.param().eval()
