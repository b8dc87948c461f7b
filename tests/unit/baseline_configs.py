"""Configurations of baselines."""

from blossomtune.config.lora import LoraSettings
from blossomtune.config.training import TrainingSettings


def build_baseline_config(training=None, lora=None, **keys):
    """Return a baseline's configuration with changed keys."""
    arguments = {"per_device_train_batch_size": 4, "max_steps": 2}
    training = {"arguments": arguments} | (training or {})
    training = TrainingSettings(learning_rate_max=1e-2, **training)
    return {
        "seed": 7,
        "lora": LoraSettings(r=4, alpha=8, **(lora or {})).model_dump(mode="json"),
        "training": training.model_dump(mode="json"),
        "rounds": 3,
        "fraction_train": 1.0,
        "gpus": 0,
        "threads": 1,
    } | keys
