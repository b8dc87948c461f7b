"""TODO docstring."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trl import SFTConfig

from blossomtune.errors import UserError

# Unlike SFTConfig's own: what a client on a CPU wants, and what keeps a run reproducible.
SFT_DEFAULTS = {"bf16": False, "gradient_checkpointing": False}


ADOPT_DEFAULTS = {"adam_beta2": 0.9999, "adam_epsilon": 1e-6}
"""Where the paper's values for ADOPT are not Adam's."""


def build_sft_config(
    arguments: Mapping[str, Any],
    *,
    learning_rate: float,
    max_steps: int,
    seed: int,
    use_cpu: bool,
    output_dir: Path,
) -> SFTConfig:
    """SFTConfig of one round on one client; its ``optim`` may be adopt.

    Args:
        chosen: the configuration's ``training.arguments``.
        learning_rate: of this round.
        steps: optimizer steps.
        seed: of dropout and the like.
        cpu: whether to stay off a GPU.
        to: a directory for what the trainer insists on writing.

    Raises:
        UserError: where SFTConfig refuses a value.
    """
    adopt = arguments.get("optim") == "adopt"
    fixed = {
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
        "router_aux_loss_coef": 0.0,  # experts' balance: no part of the loss here
    }
    if adopt:
        fixed["optim"] = "sgd"  # SFTConfig knows its own names only
    try:
        config = SFTConfig(
            **(SFT_DEFAULTS | (ADOPT_DEFAULTS if adopt else {}) | dict(arguments) | fixed)
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"training.arguments: {error}") from error
    if adopt:
        config.optim = "adopt"
    if config.n_gpu > 1:  # several would each take a whole batch, and a step mean more rows
        config._n_gpu = 1
    return config
