"""What trainers leave around a model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WRAPPED_ATTRIBUTES = ("forward", "_original_forward", "_is_accelerate_prepared")
"""SFTTrainer wraps a model's forward for its own loss, accelerate for mixed precision, once."""


@contextmanager
def restore_hooks(model: Any) -> Iterator[None]:
    """Takes off, at the end, wraps and hooks of modules that were not there at the beginning.

    Hooks come with gradient checkpointing (in each round one more) and, where training fails,
    NEFTune. Without this they would pile up from round to round.
    """
    before = [
        (
            module,
            {name: vars(module)[name] for name in WRAPPED_ATTRIBUTES if name in vars(module)},
            module._forward_hooks.copy(),
        )
        for module in model.modules()
    ]
    try:
        yield
    finally:
        for module, wrapped, hooks in before:
            for name in WRAPPED_ATTRIBUTES:
                vars(module).pop(name, None)
            vars(module).update(wrapped)
            module._forward_hooks.clear()
            module._forward_hooks.update(hooks)
