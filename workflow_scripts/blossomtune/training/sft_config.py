"""Build TRL's SFTConfig for one round on one client."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trl import SFTConfig

from blossomtune.cli import NO_COMPILER_VARIABLE
from blossomtune.errors import UserError

SFT_DEFAULTS: dict[str, Any] = {"bf16": False, "gradient_checkpointing": False}
"""Defaults that differ from SFTConfig's, for clients on CPUs and for reproducible runs."""

ADOPT_DEFAULTS = {"adam_beta2": 0.9999, "adam_epsilon": 1e-6}
"""Values of ADOPT's paper that differ from SFTConfig's defaults for Adam."""


def build_sft_config(
    arguments: Mapping[str, Any],
    *,
    learning_rate: float,
    max_steps: int,
    seed: int,
    use_cpu: bool,
    output_dir: Path,
) -> SFTConfig:
    """Build the SFTConfig of one round on one client.

    Args:
        arguments: The configuration's ``training.arguments``. Its ``optim`` may be ``adopt``.
        learning_rate: Learning rate of the round.
        max_steps: Number of optimizer steps.
        seed: Seed of dropout and other randomness in training.
        use_cpu: Whether to train on the CPU even if there is a GPU.
        output_dir: Temporary directory, which the trainer requires.

    Returns:
        Config for ``train_adapter``.

    Raises:
        UserError: If SFTConfig rejects a value.
    """
    uses_adopt = arguments.get("optim") == "adopt"
    fixed: dict[str, Any] = {
        "output_dir": str(output_dir),
        "learning_rate": learning_rate,
        "lr_scheduler_type": "constant",
        "max_steps": max_steps,
        "seed": seed,
        "use_cpu": use_cpu,
        "report_to": "none",
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "max_length": None,
        "router_aux_loss_coef": 0.0,  # the load-balancing loss of experts is not trained
    }
    defaults = SFT_DEFAULTS
    if uses_adopt:
        defaults = SFT_DEFAULTS | ADOPT_DEFAULTS
        fixed["optim"] = "sgd"  # SFTConfig rejects names that it does not know
    try:
        config = SFTConfig(**(defaults | dict(arguments) | fixed))
    except (TypeError, ValueError) as error:
        raise UserError(f"training.arguments: {error}") from error
    if config.torch_compile:
        os.environ.pop(NO_COMPILER_VARIABLE, None)
    if uses_adopt:
        config.optim = "adopt"
    if config.n_gpu > 1:  # with several GPUs, a step would contain more rows
        config._n_gpu = 1
    return config
