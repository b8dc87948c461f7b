"""Files with the part of the configuration that one stage depends on."""

import json

import pytest

from blossomtune.config.stage_files import write_stage_config


@pytest.fixture(autouse=True)
def workdir(tmp_path, monkeypatch):
    """Work in an empty directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_path_follows_from_content_alone(workdir):
    first = write_stage_config("download", {"seed": 1, "limit": None})
    assert write_stage_config("download", {"limit": None, "seed": 1}) == first
    assert write_stage_config("download", {"seed": 2, "limit": None}) != first
    assert json.loads((workdir / first).read_text()) == {"seed": 1, "limit": None}


def test_existing_file_is_not_written_again(workdir):
    path = workdir / write_stage_config("download", {"seed": 1})
    before = path.stat()
    write_stage_config("download", {"seed": 1})
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)
    assert [file.name for file in path.parent.iterdir()] == [path.name]
