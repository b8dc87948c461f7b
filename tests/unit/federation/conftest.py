"""Fixtures of the federation tests."""

import pytest
import torch

NAMES = ("north", "south")
ROWS = ((6, 2), (9, 3))
"""Training and validation rows per client."""


@pytest.fixture
def single_thread():
    """Restore the number of threads, which clients and server set."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(num_threads)


@pytest.fixture(scope="session")
def tokenized_rows(tiny_model, tmp_path_factory):
    """Return a folder as preprocess writes it: rows of two clients, and four test rows."""
    from artifact_samples import tokenized_manifest
    from chat_examples import encode_example, render_prompt
    from datasets import Dataset

    from blossomtune.artifacts.files import write_artifact
    from blossomtune.modeling.tokenizer import load_tokenizer

    folder = tmp_path_factory.mktemp("preprocessed")
    tokenizer = load_tokenizer(tiny_model)

    def write(name, count):
        prompts = [render_prompt(tokenizer, f"{name} {i}") for i in range(count)]
        pairs = [encode_example(tokenizer, prompt, "yes") for prompt in prompts]
        rows = [{"input_ids": ids, "labels": labels} for ids, labels in pairs]
        Dataset.from_list(rows).save_to_disk(folder / "saved" / name)
        [file] = (folder / "saved" / name).glob("*.arrow")
        file.rename(folder / f"{name}.arrow")

    for client, (training, validation) in enumerate(ROWS):
        write(f"client_{client}", training)
        write(f"client_{client}.validation", validation)
    write("test", 4)
    write_artifact(folder / "manifest.json", tokenized_manifest())
    return folder


@pytest.fixture
def build_run(tiny_model, tokenized_rows, tmp_path, single_thread):
    """Return a function that builds a run of two clients on the tiny model.

    Its keywords are keys of the federation block, and those below.
    """
    from federation_samples import federation_spec

    from blossomtune.config.lora import LoraSettings
    from blossomtune.config.training import TrainingSettings
    from blossomtune.federation.paths import ClientPaths
    from blossomtune.federation.run import FederatedRun
    from blossomtune.federation.spec import ClientSpec

    def build(ranks=(4, 4), optimizer_state="fresh", base_dtype="float32", **federation):
        training = TrainingSettings(
            learning_rate_max=1e-2,
            learning_rate_min=1e-2,
            optimizer_state=optimizer_state,
            base_dtype=base_dtype,
            arguments={"per_device_train_batch_size": 2, "max_steps": 2},
        )
        keys = {"max_update_norm": 20.0} | federation
        spec = federation_spec(LoraSettings(r=4, alpha=8), training, **keys)
        clients = tuple(
            ClientSpec(name=name, num_rows=rows, rank=rank)
            for name, (rows, _), rank in zip(NAMES, ROWS, ranks, strict=True)
        )
        paths = ClientPaths(
            model=tiny_model, preprocessed=tokenized_rows, checkpoints=tmp_path / "checkpoints"
        )
        return FederatedRun(spec=spec.model_copy(update={"clients": clients}), paths=paths)

    return build


@pytest.fixture
def flower_task():
    """Set the task identity that Flower needs to create messages."""
    from blossomtune.deployment.flower_internal import set_task_identity

    set_task_identity(task_id=1, run_id=1, node_id=1)
