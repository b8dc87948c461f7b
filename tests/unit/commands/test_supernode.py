"""Options of `blossomtune supernode`; tests/e2e/test_flower.py runs it."""

import sys

import pytest

from blossomtune.commands import supernode
from blossomtune.errors import UserError


def start(monkeypatch, *options):
    arguments = ["blossomtune supernode", "--superlink", "127.0.0.1:1", *options]
    monkeypatch.setattr(sys, "argv", arguments)
    supernode.main()


NODE = ("--node-config", "partition-id=0")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (NODE, "needs either --root-certificates or --insecure"),
        ((*NODE, "--insecure", "--root-certificates", "ca.crt"), "needs either"),
        ((*NODE, "--insecure", "--auth-supernode-private-key", "a.key"), "needs an encrypted"),
        ((*NODE, "--root-certificates", "missing.crt"), r"missing\.crt is no file"),
        (("--insecure", "--node-config", "run=1"), "does not say which client"),
        (("--insecure", "--node-config", "client=north"), "--node-config: The provided config"),
    ],
)
def test_invalid_options_are_refused_before_anything_starts(
    monkeypatch, tmp_path, options, message
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        start(monkeypatch, *options)


def test_plain_text_does_not_leave_the_machine(monkeypatch):
    with pytest.raises(UserError, match=r"--insecure: 192\.0\.2\.1:9092 is no loopback address"):
        start(monkeypatch, "--superlink", "192.0.2.1:9092", "--insecure", *NODE)


def test_node_config_is_read_as_flower_does():
    text = 'client="the north" run="/data/run.json" gpu=1'
    config = {"client": "the north", "run": "/data/run.json", "gpu": 1}
    assert supernode._parse_node_config(text) == config
