"""Remove hooks and wrappers that a trainer leaves on a model."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

WRAPPED_ATTRIBUTES = ("forward", "_original_forward", "_is_accelerate_prepared")
"""Instance attributes that SFTTrainer and accelerate set to wrap a module's forward."""


@contextmanager
def restore_hooks(model: Any) -> Iterator[None]:
    """Restore all modules' forward wrappers and forward hooks at the end.

    Gradient checkpointing adds one hook per round, and NEFTune leaves its hook if training fails.

    Args:
        model: The model to restore.

    Yields:
        None, while the model may be wrapped.
    """
    snapshots = [
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
        for module, attributes, hooks in snapshots:
            for name in WRAPPED_ATTRIBUTES:
                vars(module).pop(name, None)
            vars(module).update(attributes)
            module._forward_hooks.clear()
            module._forward_hooks.update(hooks)
