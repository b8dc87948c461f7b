"""End this process when the process that it serves ends, however that one ends."""

import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

POLL_SECONDS = 0.5


def set_process_name(name: str) -> None:
    """Set the name that ``ps`` and ``top`` show for this process, at most 15 bytes (Linux)."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text(name)


def signal_self_when_process_ends(pid: int, signal_number: int) -> None:
    """Send this process a signal when another process ends.

    psutil compares process id and creation time, so a reused id does not count as running.
    A zombie counts as ended, and so does a process that ended before this call.

    Args:
        pid: Id of the process to watch.
        signal_number: Signal to send to this process.
    """
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        os.kill(os.getpid(), signal_number)
        return

    def wait_and_signal() -> None:
        with suppress(psutil.NoSuchProcess):
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                time.sleep(POLL_SECONDS)
        os.kill(os.getpid(), signal_number)

    threading.Thread(target=wait_and_signal, daemon=True).start()


def exit_with_parent() -> None:
    """Kill this ``multiprocessing`` child when the process that started it ends."""
    parent = multiprocessing.parent_process()
    if parent is None or parent.pid is None:
        raise RuntimeError("this process was not started by multiprocessing")
    signal_self_when_process_ends(parent.pid, signal.SIGKILL)
