"""Hide installed packages from libraries that import them without need."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hide_modules(*names: str) -> Iterator[None]:
    """Let imports within the block find the named modules not installed.

    Args:
        *names: Names of top-level modules. Those already imported stay visible.

    Yields:
        None.
    """
    hidden = [name for name in names if name not in sys.modules]
    try:
        for name in hidden:
            sys.modules[name] = None  # type: ignore[assignment] # the import system's mark
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
