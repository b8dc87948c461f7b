"""Tests of the files that a submitted run and its ServerApp share."""

import logging
import threading

import pytest
from patience import PATIENCE

from blossomtune.errors import UserError
from blossomtune.federation import submission
from blossomtune.federation.submission import Submission, load_submitted_run


@pytest.fixture
def submitted(build_run, tmp_path):
    run = build_run()
    files = Submission(tmp_path / "flower-1")
    files.write(run)
    yield files
    log = logging.getLogger("blossomtune")
    for handler in [h for h in log.handlers if isinstance(h, logging.FileHandler)]:
        log.removeHandler(handler)
        handler.close()


def test_only_this_user_may_read_the_run_of_the_server(submitted, build_run):
    assert submitted.run_file.stat().st_mode & 0o777 == 0o600
    assert load_submitted_run(submitted.run_file) == build_run()


def test_server_app_goes_on_when_the_other_side_has_seen_it(submitted):
    thread = threading.Thread(target=Submission(submitted.folder).accept)
    assert not submitted.confirm_start()
    thread.start()
    while not submitted.confirm_start():
        pass
    thread.join(PATIENCE)
    assert not thread.is_alive()
    logging.getLogger("blossomtune").warning("round 1 is done")
    assert submitted.log.read_text() == "round 1 is done\n"


def test_files_that_only_the_server_app_sees_are_refused(submitted, monkeypatch):
    monkeypatch.setattr(submission, "ACCEPT_TIMEOUT_SECONDS", 0)
    with pytest.raises(UserError, match=r"what it writes there is not seen here\n  hint: model, "):
        submitted.accept()


def test_folder_that_the_server_app_cannot_write_to_is_refused(submitted):
    submitted.log.mkdir()
    with pytest.raises(UserError, match=r"the ServerApp runs on .*, which cannot write there"):
        submitted.accept()


def test_run_of_flwr_run_itself_is_accepted_without_a_submission(tmp_path):
    Submission(tmp_path).accept()
    assert list(tmp_path.iterdir()) == []


def test_run_that_the_server_app_cannot_read_is_an_error_with_both_ways_out(tmp_path):
    with pytest.raises(UserError, match=r"cannot read .*run.json: No such(.|\n)*superexec_secret"):
        load_submitted_run(tmp_path / "run.json")


def test_id_of_the_run_is_kept_for_a_process_that_finds_the_folder(submitted):
    assert submitted.run_id is None
    submitted.save_run_id("8092713896752553591")
    assert Submission(submitted.folder).run_id == "8092713896752553591"
