"""Tests of reading zip and tar archives."""

import io
import tarfile
import zipfile

import pytest

from blossomtune.data.sources import archives
from blossomtune.errors import UserError


def build_tar_gz(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()


@pytest.fixture
def nested_archive(tmp_path):
    """Write a zip that contains a tar.gz, as the default data set's package does."""
    path = tmp_path / "outer.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pack/readme.md", "read me")
        archive.writestr(
            "pack/data.tar.gz", build_tar_gz({"in/a.txt": b"A", "in/deep/b.txt": b"B"})
        )
    return path


def test_nested_archive_is_read_as_a_folder(nested_archive, tmp_path):
    paths = archives.extract_files(nested_archive, "**/data.tar.gz/**/*.txt", tmp_path / "out")
    assert [p.relative_to(tmp_path / "out").as_posix() for p in paths] == [
        "pack/data.tar.gz/in/a.txt",
        "pack/data.tar.gz/in/deep/b.txt",
    ]
    assert paths[1].read_bytes() == b"B"


def test_pattern_without_match_lists_the_files(nested_archive, tmp_path):
    with pytest.raises(UserError) as error:
        archives.extract_files(nested_archive, "*.csv", tmp_path / "out")
    assert "no file in outer.zip matches '*.csv'; there are: pack/readme.md" in str(error.value)
    assert "pack/data.tar.gz/in/deep/b.txt" in str(error.value)


@pytest.mark.parametrize("name", ["../escape.txt", "/etc/escape.txt", "a/../../b.txt", "c:\\b.txt"])
def test_names_outside_the_archive_are_rejected(tmp_path, name):
    path = tmp_path / "bad.tar.gz"
    path.write_bytes(build_tar_gz({name: b"x"}))
    with pytest.raises(UserError, match="leads out of the archive"):
        archives.extract_files(path, "**", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_are_skipped(tmp_path):
    path = tmp_path / "links.tar"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("secret.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(UserError, match=r"no file in links\.tar"):
        archives.extract_files(path, "**", tmp_path / "out")


@pytest.mark.parametrize("name", ["truncated.tar.gz", "truncated.zip"])
def test_damaged_archive_is_rejected(tmp_path, name):
    (tmp_path / name).write_bytes(build_tar_gz({"a.txt": b"A" * 5000})[:60])
    with pytest.raises(UserError, match=f"{name}: the archive is damaged"):
        archives.extract_files(tmp_path / name, "**", tmp_path / "out")


def test_file_without_archive_suffix_is_rejected(tmp_path):
    (tmp_path / "a.txt").write_text("A")
    with pytest.raises(UserError, match=r"a\.txt is not an archive; known endings: \.zip"):
        archives.extract_files(tmp_path / "a.txt", "**", tmp_path / "out")


def test_damage_within_a_file_is_rejected(tmp_path):
    content = build_tar_gz({"a.txt": bytes(range(256)) * 5000})
    (tmp_path / "a.tar.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"a\.tar\.gz: the archive is damaged"):
        archives.extract_files(tmp_path / "a.tar.gz", "**", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "A" * 5000)
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(content.replace(b"AAAA", b"AAAB", 1))
    with pytest.raises(UserError, match=r"a\.zip: the archive is damaged \(Bad CRC-32"):
        archives.extract_files(tmp_path / "a.zip", "**", tmp_path / "out")


def test_encrypted_archive_is_rejected(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "A")
    content = bytearray(path.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + flags] |= 1  # the encryption bit
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.zip: the archive cannot be unpacked: .*password"):
        archives.extract_files(path, "**", tmp_path / "out")


def test_large_nested_archive_is_copied_to_disk(tmp_path, monkeypatch, nested_archive):
    monkeypatch.setattr(archives, "_MAX_BYTES_IN_MEMORY", 1)  # so that a small one is large
    paths = archives.extract_files(nested_archive, "*.txt", tmp_path / "out")
    assert [path.read_bytes() for path in paths] == [b"A", b"B"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "outer.zip"]
