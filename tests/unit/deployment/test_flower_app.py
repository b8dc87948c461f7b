"""Tests of what a run takes to a SuperLink of others, and of how it ends there."""

from pathlib import Path

import pytest
from federation_samples import federation_spec

from blossomtune.deployment import flower_app
from blossomtune.deployment.flower_cli import RunStatus
from blossomtune.errors import UserError
from blossomtune.federation.paths import ClientPaths, ServerPaths
from blossomtune.federation.resources import Resources
from blossomtune.federation.run import FederatedRun
from blossomtune.federation.submission import Submission


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Return a function that builds a run whose paths are relative to another folder."""
    monkeypatch.chdir(tmp_path)

    def build_run(gpus_per_client=0, **engine):
        block = {"name": "flower", "connection": "lab", "keys": "keys"} | engine
        keys = {
            "engine": block,
            "privacy": {"secret": "secret"},
            "gpus_per_client": gpus_per_client,
        }
        names = ("adapter", "history", "model", "preprocessed", "checkpoints")
        return FederatedRun(
            spec=federation_spec(names=("north", "south"), **keys),
            paths=ServerPaths(**{name: tmp_path / name for name in names}),
            resources=Resources(cores=2, deadline=9.0),
        )

    return build_run


def test_run_of_the_server_has_absolute_paths_and_no_clock_of_this_machine(build, tmp_path):
    run = flower_app._prepare_server_run(build())
    assert run.spec.federation.engine.keys == str(tmp_path / "keys")
    assert run.spec.federation.privacy.secret == str(tmp_path / "secret")
    assert run.resources.deadline is None
    here = flower_app._prepare_server_run(build(superexec_secret="s"))
    assert here.resources.deadline == 9.0


@pytest.mark.parametrize(("configured", "expected"), [("auto", 1.0), (0.5, 0.5), (0, 0.0)])
def test_run_of_the_clients_has_no_secret_and_their_share_of_a_gpu(build, configured, expected):
    run = flower_app._prepare_client_run(build(configured))
    assert run.spec.federation.privacy.secret is None
    assert type(run.paths) is ClientPaths
    assert run.resources.gpus_per_client == expected


@pytest.mark.parametrize(
    ("status", "details", "message"),
    [
        ("finished:stopped", "", "the run was stopped on the SuperLink\n  hint: the same command"),
        (
            "finished:failed",
            "ServerApp failed with exception: round 2 stops: 1 of the 2\n  hint: wait",
            "^round 2 stops: 1 of the 2\n  hint: wait$",
        ),
        (
            "finished:failed",
            "uv sync failed: no network",
            "uv sync failed.*\n  hint: .*--disable-runtime-dependency-installation",
        ),
        ("finished:failed", "No heartbeat received from the task", "hint: the ServerApp has ended"),
    ],
)
def test_failed_run_is_the_error_of_its_server_app(status, details, message):
    with pytest.raises(UserError, match=message):
        flower_app._require_completed(RunStatus(status, details))


class Cli:
    """A SuperLink that has forgotten one of its runs."""

    def __init__(self):
        self.stopped = []

    def stop_run(self, run_id):
        self.stopped.append(run_id)
        if run_id == "2":
            raise UserError("no such run")


def test_runs_that_were_left_behind_are_stopped(build, tmp_path):
    run = build()
    for number in ("1", "2", "3"):
        submission = Submission(tmp_path / f"checkpoints/flower-{number}")
        submission.write(run)
        if number != "3":  # killed before the SuperLink said the id
            submission.save_run_id(number)
    (tmp_path / "checkpoints/0123").mkdir()
    cli = Cli()
    flower_app._stop_leftover_runs(cli, tmp_path / "checkpoints")
    assert sorted(cli.stopped) == ["1", "2"]
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["0123"]


def test_log_of_the_server_app_is_printed_as_it_grows(tmp_path, capsys):
    log = tmp_path / "server.log"
    assert flower_app._print_log(log, 0) == 0
    log.write_text("round 1\n")
    position = flower_app._print_log(log, 0)
    with Path(log).open("a") as file:
        file.write("round 2\n")
    flower_app._print_log(log, position)
    assert capsys.readouterr().err == "round 1\nround 2\n"
