"""TODO docstring."""

import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from pathlib import Path


def set_process_name(name: str) -> None:
    """Shows this process under a name of up to 15 bytes, where the system has a place for it."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def exit_with_parent() -> None:
    """Ends this process when the one that it was forked from ends, whatever ended that."""

    def wait_and_end() -> None:
        multiprocessing.parent_process().join()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait_and_end, daemon=True).start()
