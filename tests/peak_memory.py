"""Measure the peak memory of this process (Linux, proc_pid_status(5)).

``ru_maxrss`` of a forked process starts with the peak of its parent.
"""

from pathlib import Path


def reset_peak() -> None:
    """Forget the peak so far."""
    Path("/proc/self/clear_refs").write_text("5")


def get_peak_bytes() -> int:
    """Return the most bytes that were resident since the last reset."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
