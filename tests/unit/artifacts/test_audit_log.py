"""Every change of an audit log shows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blossomtune.artifacts.audit_events import (
    ClientJoined,
    NodeRefused,
    ReplyReceived,
    RequestSent,
    ResultWritten,
    RoundCompleted,
    RunStarted,
)
from blossomtune.artifacts.audit_log import AuditLog, compute_tensors_sha256, read_audit_log
from blossomtune.errors import UserError

HASH = "ab" * 32
EVENTS = [
    RunStarted(run="0123456789abcdef", round=0),
    ClientJoined(client=0, node=2**63 + 1, key="SHA256:abc"),
    NodeRefused(node=7, key=None, reason="a line\nand a \x1b[31mcolour, ü and \u2028"),
    RequestSent(round=1, task="train", client=0, sha256=HASH),
    ReplyReceived(round=1, task="train", client=0, sha256=HASH, reason=None),
    ReplyReceived(round=1, task="evaluate", client=1, sha256=None, reason="no answer"),
    RoundCompleted(round=1, adapter=HASH, record=HASH),
    ResultWritten(files={"history.json": HASH}),
]


@pytest.fixture(scope="module")
def log(tmp_path_factory):
    path = tmp_path_factory.mktemp("audit") / "checkpoints/audit.jsonl"
    audit = AuditLog(path)
    for event in EVENTS:
        audit.append(event)
    return path


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """Return a function that writes lines or bytes to a file, and returns its path."""
    path = tmp_path_factory.mktemp("changed") / "audit.jsonl"

    def write(content):
        path.write_bytes(content if isinstance(content, bytes) else b"".join(content))
        return path

    return write


def first_lines(log, count):
    return b"".join(log.read_bytes().splitlines(keepends=True)[:count])


def test_entries_are_read_as_they_were_written(log):
    entries = read_audit_log(log)
    assert [entry.event for entry in entries] == EVENTS
    assert log.read_bytes().count(b"\n") == len(EVENTS)
    assert len({entry.sha256 for entry in entries}) == len(EVENTS)


@given(data=st.data())
def test_change_of_a_single_byte_is_found(log, changed, data):
    content = bytearray(log.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] = data.draw(st.integers(0, 255).filter(lambda b: b != content[position]))
    with pytest.raises(UserError, match=r"audit\.jsonl: line \d+ or the line before it"):
        read_audit_log(changed(bytes(content)))


def test_change_of_a_bit_of_any_byte_is_found(log, changed):
    content = first_lines(log, 3)
    for position in range(len(content)):
        flipped = bytes([content[position] ^ 1])
        with pytest.raises(UserError):
            read_audit_log(changed(content[:position] + flipped + content[position + 1 :]))


def test_removed_byte_is_found(log, changed):
    content = first_lines(log, 2)
    for position in range(len(content)):
        with pytest.raises(UserError):
            read_audit_log(changed(content[:position] + content[position + 1 :]))


@given(data=st.data())
def test_lines_in_any_other_order_or_number_are_found(log, changed, data):
    """A log that ends early has a valid chain; the results show that it is too short."""
    lines = log.read_bytes().splitlines(keepends=True)
    others = data.draw(st.lists(st.sampled_from(lines), max_size=len(lines) + 2))
    path = changed(others)
    if others == lines[: len(others)]:
        assert len(read_audit_log(path)) == len(others)
    else:
        with pytest.raises(UserError, match="has been changed, removed or moved"):
            read_audit_log(path)


def test_line_of_a_server_that_was_killed_is_removed_and_the_chain_goes_on(log, changed):
    path = changed(log.read_bytes()[:-5])
    with pytest.raises(UserError, match="line 8 "):
        read_audit_log(path)
    AuditLog(path).append(RunStarted(run="0123456789abcdef", round=1))
    events = [entry.event for entry in read_audit_log(path)]
    assert events == [*EVENTS[:-1], RunStarted(run="0123456789abcdef", round=1)]


def test_changed_log_is_not_continued(log, changed):
    path = changed(log.read_bytes().replace(b"no answer", b"no memory"))
    with pytest.raises(UserError, match="moved away"):
        AuditLog(path)


def test_missing_log_is_reported(tmp_path):
    with pytest.raises(UserError, match="it is not there"):
        read_audit_log(tmp_path / "audit.jsonl")


def test_digest_of_tensors_depends_on_names_types_shapes_and_values():
    tensors = {"a": np.zeros((2, 3), np.float32), "b": np.ones(6, np.float32)}
    reference = compute_tensors_sha256(tensors)
    assert compute_tensors_sha256(dict(reversed(tensors.items()))) == reference
    others = [
        {"a": tensors["a"]},
        {"a": tensors["b"], "b": tensors["a"]},
        tensors | {"a": np.zeros((3, 2), np.float32)},
        tensors | {"a": np.zeros((2, 3), np.int32)},
        tensors | {"b": np.nextafter(tensors["b"], 2)},
    ]
    assert reference not in map(compute_tensors_sha256, others)
    assert len(set(map(compute_tensors_sha256, others))) == len(others)
