"""Measure the peak memory of this process (Linux, proc_pid_status(5)).

``ru_maxrss`` does not do: a process that was just forked starts with its parent's peak.
"""

from pathlib import Path


def reset_peak() -> None:
    """Forget the peak so far."""
    Path("/proc/self/clear_refs").write_text("5")


def get_peak_bytes() -> int:
    """Return the most bytes that were resident since the last reset."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024
