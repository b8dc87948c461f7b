import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blossomtune import files
from blossomtune.errors import UserError


def test_home_folder_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    assert files.expand_home("~/a") == Path("/home/anna/a")
    assert files.expand_home("a~/~b") == Path("a~/~b")
    with pytest.raises(UserError, match="'~nobody-here/a' does not exist: there is no such home"):
        files.expand_home("~nobody-here/a")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def fill(path, text, directory):
    (path / "file" if directory else path).write_text(text)


def read(path, directory):
    return (path / "file" if directory else path).read_text()


@pytest.mark.parametrize("directory", [False, True])
class TestAtomic:
    def test_new_content_replaces_old(self, tmp_path, directory):
        path = tmp_path / "new" / "result"
        for text in ("first", "second"):
            with files.write_atomically(path, directory=directory) as partial:
                fill(partial, text, directory)
            assert read(path, directory) == text
        assert list(path.parent.iterdir()) == [path]

    def test_path_is_absent_until_the_block_ends(self, tmp_path, directory):
        path = tmp_path / "result"
        with files.write_atomically(path, directory=directory) as partial:
            fill(partial, "half", directory)
            assert not path.exists()
        assert path.exists()

    @pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
    def test_error_leaves_no_files(self, tmp_path, directory, error):
        with (
            pytest.raises(error),
            files.write_atomically(tmp_path / "result", directory=directory) as partial,
        ):
            fill(partial, "half", directory)
            raise error
        assert list(tmp_path.iterdir()) == []

    def test_error_keeps_old_content(self, tmp_path, directory):
        path = tmp_path / "result"
        with files.write_atomically(path, directory=directory) as partial:
            fill(partial, "old", directory)
        with (
            pytest.raises(ValueError),
            files.write_atomically(path, directory=directory) as partial,
        ):
            fill(partial, "half", directory)
            raise ValueError
        assert read(path, directory) == "old"
        assert list(tmp_path.iterdir()) == [path]

    @pytest.mark.parametrize("stale_directory", [False, True])
    def test_partial_result_of_a_killed_process_is_removed(
        self, tmp_path, directory, stale_directory
    ):
        path = tmp_path / "result"
        with files.write_atomically(path, directory=stale_directory) as stale:
            fill(stale, "stale", stale_directory)
        path.rename(stale)  # as if killed before the last step
        with files.write_atomically(path, directory=directory) as partial:
            assert partial == stale
            fill(partial, "whole", directory)
        assert list(tmp_path.iterdir()) == [path]
        assert read(path, directory) == "whole"


@pytest.fixture
def disk(tmp_path):
    """Mount an ext4 file system of 16 MB; return its folder and a function that looks at it.

    The function mounts a copy of the disk as it is without the memory of this machine, which is
    what a loss of power leaves of it. It returns the files' contents.
    """
    image, folder = tmp_path / "disk.img", tmp_path / "disk"

    def mount(file, mount_point):
        mount_point.mkdir(exist_ok=True)
        command = ["mount", "-o", "loop", file, mount_point]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def read_after_loss_of_power():
        copy, restarted = tmp_path / "copy.img", tmp_path / "restarted"
        shutil.copyfile(image, copy)
        assert mount(copy, restarted).returncode == 0
        files = sorted(path for path in restarted.rglob("*") if path.is_file())
        contents = {str(path.relative_to(restarted)): path.read_text() for path in files}
        subprocess.run(["umount", restarted], check=True)
        return contents

    if os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
        pytest.skip("only root may mount a file system, and mkfs.ext4 makes it")
    image.write_bytes(bytes(2**24))
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    if (mounted := mount(image, folder)).returncode:
        pytest.skip(f"no loop device can be mounted: {mounted.stderr.strip()}")
    yield folder, read_after_loss_of_power
    subprocess.run(["umount", folder], check=True)


def test_loss_of_power_leaves_the_old_or_the_new_result(disk):
    folder, read_after_loss_of_power = disk
    for old, new in (("", "first"), ("first", "second")):
        with files.write_atomically(folder / "file") as partial:
            partial.write_text(new)
            assert read_after_loss_of_power().get("file", "") == old
        assert read_after_loss_of_power()["file"] == new
    with files.write_atomically(folder / "new/folder", directory=True) as partial:
        (partial / "inner").mkdir()
        (partial / "inner/a").write_text("a")
        (partial / "b").write_text("b")
    after = read_after_loss_of_power()
    assert (after["new/folder/inner/a"], after["new/folder/b"]) == ("a", "b")
    files.write_private_file(folder / "key", b"secret")
    assert read_after_loss_of_power()["key"] == "secret"


def test_file_does_not_replace_a_directory(tmp_path):
    (tmp_path / "result").mkdir()
    with pytest.raises(OSError), files.write_atomically(tmp_path / "result") as partial:
        partial.write_text("text")
    assert list(tmp_path.iterdir()) == [tmp_path / "result"]


@given(JSON)
def test_json_round_trip_is_exact(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("json") / "value.json"
    files.write_json(path, value)
    before = path.read_bytes()
    assert files.read_json(path) == value
    files.write_json(path, files.read_json(path))
    assert path.read_bytes() == before
    assert files.to_canonical_json(files.read_json(path)) == files.to_canonical_json(value)


@given(st.dictionaries(st.text(), st.integers(), min_size=2))
def test_key_order_does_not_change_the_checksum(value):
    reordered = dict(reversed(value.items()))
    assert files.to_canonical_json(reordered) == files.to_canonical_json(value)
    assert files.compute_json_sha256(reordered) == files.compute_json_sha256(value)


def test_canonical_json_has_no_spaces_and_keeps_unicode():
    assert files.to_canonical_json({"b": [1, 2.5], "a": "ü"}) == '{"a":"ü","b":[1,2.5]}'


@given(st.binary())
def test_file_sha256_matches_hashlib(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("bytes") / "file"
    path.write_bytes(content)
    assert files.compute_file_sha256(path) == hashlib.sha256(content).hexdigest()
