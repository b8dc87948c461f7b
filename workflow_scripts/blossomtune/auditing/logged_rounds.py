"""Collect the rounds of an audit log."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from blossomtune.artifacts.audit_events import (
    ReplyReceived,
    RequestSent,
    ResultWritten,
    RoundCompleted,
    RunStarted,
    Task,
)
from blossomtune.artifacts.audit_log import AuditEntry


@dataclass
class LoggedRound:
    """A completed round and its messages.

    Attributes:
        completion: The entry at the end of the round.
        asked: Clients that were sent a request, by task.
        reasons: By task and client, why the reply does not count; None if it does.
    """

    completion: RoundCompleted
    asked: set[tuple[Task, int]]
    reasons: dict[tuple[Task, int], str | None]


@dataclass
class LoggedRun:
    """The run that wrote a result.

    Attributes:
        rounds: The last completion of each round, by its number.
        result: The last result; None if there is none.
    """

    rounds: dict[int, LoggedRound] = field(default_factory=dict)
    result: ResultWritten | None = None


def collect_rounds(entries: Iterable[AuditEntry]) -> LoggedRun:
    """Collect the rounds of the run that wrote the last result.

    A round that was interrupted starts again after the last checkpoint, so its messages are in the
    log more than once.

    Args:
        entries: All entries of the log.

    Returns:
        The run, without what it did after its last result.
    """
    runs: dict[str, LoggedRun] = {}
    current, last = LoggedRun(), LoggedRun()
    asked: set[tuple[Task, int]] = set()
    reasons: dict[tuple[Task, int], str | None] = {}
    for event in (entry.event for entry in entries):
        match event:
            case RunStarted():
                current = runs.setdefault(event.run, LoggedRun())
                asked, reasons = set(), {}
            case RequestSent():
                asked.add((event.task, event.client))
            case ReplyReceived():
                reasons[event.task, event.client] = event.reason
            case RoundCompleted():
                current.rounds[event.round] = LoggedRound(event, asked, reasons)
                asked, reasons = set(), {}
            case ResultWritten():
                last = LoggedRun(dict(current.rounds), event)
    return last
