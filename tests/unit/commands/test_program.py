import subprocess
import sys

import pytest
from federation_samples import federation_spec

from blossomtune.commands import program, run
from blossomtune.errors import UserError
from blossomtune.federation.paths import ClientPaths
from blossomtune.federation.run import FederatedRun
from blossomtune.package_versions import get_package_versions
from blossomtune.version import __version__


def start(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["blossomtune", *arguments])
    program.run_command()


def test_version_lists_this_package_and_those_that_it_trains_with(monkeypatch, capsys):
    start(monkeypatch, "version")
    lines = [f"{name} {version}" for name, version in get_package_versions().items()]
    assert capsys.readouterr().out.splitlines() == [f"blossomtune {__version__}", *lines]


@pytest.mark.parametrize("command", program.COMMANDS)
def test_help_names_the_command(monkeypatch, capsys, command):
    with pytest.raises(SystemExit):
        start(monkeypatch, command, "--help")
    assert f" {command} [-h] [--verbose]" in capsys.readouterr().out


def test_unknown_command_is_refused_with_the_known_ones(monkeypatch, capsys):
    with pytest.raises(SystemExit):
        start(monkeypatch, "train")
    assert "'join', 'run', 'supernode', 'version'" in capsys.readouterr().err


def test_script_and_program_share_a_command():
    script = [sys.executable, "workflow_scripts/join.py", "--help"]
    output = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    assert "usage: join.py [-h] [--verbose] [--folder FOLDER] --data DATA" in output


def test_run_of_a_client_is_refused(monkeypatch, tmp_path):
    paths = ClientPaths(model="m", preprocessed="p", checkpoints="c")
    FederatedRun(spec=federation_spec(), paths=paths).save(tmp_path / "run.json")
    with pytest.raises(UserError, match="is the run file of a client"):
        start(monkeypatch, "run", str(tmp_path / "run.json"))


def test_engine_that_needs_the_repository_is_refused_without_another():
    paths = ClientPaths(model="m", preprocessed="p", checkpoints="c")
    prepared = FederatedRun(spec=federation_spec(engine="docker"), paths=paths)
    with pytest.raises(UserError, match=r"engine: docker is for .*\n.*--engine with one of simul"):
        run._select_engine(prepared, None)
    assert run._select_engine(prepared, "process").spec.federation.engine.name == "process"


def test_value_of_an_override_is_json_or_text():
    assert run._parse_override("federation.rounds=5") == ("federation.rounds", 5)
    assert run._parse_override("federation.result=best") == ("federation.result", "best")
    with pytest.raises(Exception, match="'rounds' is not KEY=VALUE"):
        run._parse_override("rounds")
