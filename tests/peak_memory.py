"""The most memory that this process had since it last forgot (Linux, proc_pid_status(5)).

``ru_maxrss`` will not do: a process that was just forked has its parent's peak as its own.
"""

from pathlib import Path


def forget() -> None:
    """From now on, only what comes counts."""
    Path("/proc/self/clear_refs").write_text("5")


def most() -> int:
    """Bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
