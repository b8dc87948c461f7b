import io
import tarfile
import zipfile

import pytest

from blossomtune.data.sources import archives, glob_patterns
from blossomtune.errors import UserError


def tar_gz(files: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return content.getvalue()


@pytest.fixture
def nested(tmp_path):
    """A zip with a tar.gz in it, as the default's data comes."""
    path = tmp_path / "outer.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("pack/readme.md", "read me")
        archive.writestr("pack/data.tar.gz", tar_gz({"in/a.txt": b"A", "in/deep/b.txt": b"B"}))
    return path


@pytest.mark.parametrize(
    ("pattern", "name", "matches"),
    [
        ("*.txt", "a.txt", True),
        ("*.txt", "deep/down/a.txt", True),
        ("in/*.txt", "in/a.txt", True),
        ("in/*.txt", "in/deep/a.txt", False),
        ("in/**/*.txt", "in/a.txt", True),
        ("in/**/*.txt", "in/deep/er/a.txt", True),
        ("**", "any/thing", True),
        ("a?.txt", "ab.txt", True),
        ("a.txt", "abtxt", False),
        ("a[1].txt", "a[1].txt", True),
    ],
)
def test_patterns(pattern, name, matches):
    assert bool(glob_patterns.compile_glob(pattern).fullmatch(name)) is matches


def test_an_archive_in_an_archive_counts_as_a_folder(nested, tmp_path):
    found = archives.extract_files(nested, "**/data.tar.gz/**/*.txt", tmp_path / "out")
    assert [p.relative_to(tmp_path / "out").as_posix() for p in found] == [
        "pack/data.tar.gz/in/a.txt",
        "pack/data.tar.gz/in/deep/b.txt",
    ]
    assert found[1].read_bytes() == b"B"


def test_a_pattern_that_matches_nothing_lists_what_is_there(nested, tmp_path):
    with pytest.raises(UserError) as error:
        archives.extract_files(nested, "*.csv", tmp_path / "out")
    assert "no file in outer.zip matches '*.csv'; there are: pack/readme.md" in str(error.value)
    assert "pack/data.tar.gz/in/deep/b.txt" in str(error.value)


@pytest.mark.parametrize("name", ["../escape.txt", "/etc/escape.txt", "a/../../b.txt", "c:\\b.txt"])
def test_names_that_lead_out_are_refused(tmp_path, name):
    path = tmp_path / "bad.tar.gz"
    path.write_bytes(tar_gz({name: b"x"}))
    with pytest.raises(UserError, match="leads out of the archive"):
        archives.extract_files(path, "**", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_links_are_passed_over(tmp_path):
    path = tmp_path / "links.tar"
    with tarfile.open(path, "w") as archive:
        link = tarfile.TarInfo("secret.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(UserError, match=r"no file in links\.tar"):
        archives.extract_files(path, "**", tmp_path / "out")


@pytest.mark.parametrize("name", ["cut.tar.gz", "cut.zip"])
def test_a_damaged_archive(tmp_path, name):
    (tmp_path / name).write_bytes(tar_gz({"a.txt": b"A" * 5000})[:60])
    with pytest.raises(UserError, match=f"{name}: the archive is damaged"):
        archives.extract_files(tmp_path / name, "**", tmp_path / "out")


def test_a_file_that_is_no_archive(tmp_path):
    (tmp_path / "a.txt").write_text("A")
    with pytest.raises(UserError, match=r"a\.txt is not an archive; known endings: \.zip"):
        archives.extract_files(tmp_path / "a.txt", "**", tmp_path / "out")


def test_damage_in_the_middle_of_a_file(tmp_path):
    packed = tar_gz({"a.txt": bytes(range(256)) * 5000})
    (tmp_path / "a.tar.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(UserError, match=r"a\.tar\.gz: the archive is damaged"):
        archives.extract_files(tmp_path / "a.tar.gz", "**", tmp_path / "out")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.txt", "A" * 5000)
    content = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "a.zip").write_bytes(content.replace(b"AAAA", b"AAAB", 1))
    with pytest.raises(UserError, match=r"a\.zip: the archive is damaged \(Bad CRC-32"):
        archives.extract_files(tmp_path / "a.zip", "**", tmp_path / "out")


def test_an_archive_with_a_password(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "A")
    content = bytearray(path.read_bytes())
    for header, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(header) + flags] |= 1  # the bit that says: encrypted
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.zip: the archive cannot be unpacked: .*password"):
        archives.extract_files(path, "**", tmp_path / "out")


def test_large_archives_in_archives_go_to_disk(tmp_path, monkeypatch, nested):
    monkeypatch.setattr(archives, "_MAX_BYTES_IN_MEMORY", 1)  # so that a small one is large
    found = archives.extract_files(nested, "*.txt", tmp_path / "out")
    assert [path.read_bytes() for path in found] == [b"A", b"B"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "outer.zip"]
