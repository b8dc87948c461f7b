"""Tests of loading sources: folders, files, archives and URLs."""

import gzip
import hashlib
import shutil
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import datasets
import pytest

from blossomtune.data.sources import load_source
from blossomtune.errors import UserError

CSV = "text,n\nfrom csv,1\n"
JSONL = b'{"text": "from jsonl", "n": 2}\n'


def make_source(path, **changes):
    return {"kind": "path", "path": str(path), "files": "**", "split": None} | changes


def read_texts(source, tmp_path, kind=None):
    """Return file name and text of each row."""
    scratch = tmp_path / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    loaded = load_source.load_source(source, kind and {"kind": kind, "columns": None}, scratch)
    assert (loaded.revision, loaded.licence) == (None, None)
    return [(name, row["text"]) for name, batch in loaded.file_batches for row in batch.to_pylist()]


@pytest.fixture
def folder(tmp_path):
    """Write two data files, a README and a hidden file."""
    path = tmp_path / "data"
    (path / "more").mkdir(parents=True)
    (path / "b.csv").write_text(CSV)
    (path / "more" / "a.jsonl.gz").write_bytes(gzip.compress(JSONL))
    (path / "README.md").write_text("# Data")
    (path / ".b.csv").write_text("hidden")
    return path


@pytest.fixture
def archive(folder, tmp_path):
    """Write a zip that contains a tar.gz of the folder."""
    inner = tmp_path / "inner.tar.gz"
    with tarfile.open(inner, "w:gz") as tar:
        tar.add(folder, "data")
    path = tmp_path / "outer.ZIP"
    with zipfile.ZipFile(path, "w") as outer:
        outer.write(inner, "pack/inner.tar.gz")
        outer.writestr("c.csv", CSV)
    return path


def test_folder_yields_files_of_known_formats(folder, tmp_path):
    assert read_texts(make_source(folder), tmp_path) == [
        ("b.csv", "from csv"),
        ("a.jsonl.gz", "from jsonl"),
    ]
    assert read_texts(make_source(folder, files="*.csv"), tmp_path) == [("b.csv", "from csv")]
    assert read_texts(make_source(folder / "b.csv"), tmp_path) == [("b.csv", "from csv")]


def test_folder_without_known_formats_lists_its_files(folder, tmp_path):
    (folder / "a.xml").write_text("<a/>")
    with pytest.raises(UserError) as error:
        read_texts(make_source(folder, files="*.xml"), tmp_path)
    assert str(error.value) == (
        f"no file in {folder} that matches '*.xml' ends in a format that is known; there are: "
        "a.xml\n  hint: format: {kind: …} says what they are"
    )
    with pytest.raises(UserError, match=r"matches '\*.txt'; there are: README.md, a.xml, b.csv"):
        read_texts(make_source(folder, files="*.txt"), tmp_path)


def test_text_files_are_read_if_nothing_else_matches(folder, tmp_path):
    assert read_texts(make_source(folder, files="*.md"), tmp_path) == [("README.md", "# Data")]
    (folder / "a.xml").write_text("<a/>")
    message = r"there are: README.md, a.xml\n  hint: .*; files: '\*.txt' reads plain text only"
    with pytest.raises(UserError, match=message):
        read_texts(make_source(folder, files="*.*m*"), tmp_path)


def test_pattern_of_paths_is_expanded(folder, archive, tmp_path, monkeypatch):
    (folder / "c[1].csv").write_text(CSV)
    (folder / "~$b.csv").write_text("Excel's lock file")
    assert read_texts(make_source(folder / "*.csv"), tmp_path) == [
        ("b.csv", "from csv"),
        ("c[1].csv", "from csv"),
    ]
    assert read_texts(make_source(folder / "c[1]*"), tmp_path) == [("c[1].csv", "from csv")]
    assert read_texts(make_source(folder / "c[1].csv"), tmp_path) == [("c[1].csv", "from csv")]
    assert read_texts(make_source(folder / "m*", files="*.jsonl.gz"), tmp_path) == [
        ("a.jsonl.gz", "from jsonl")
    ]
    archive.rename(folder / "more" / "pack.zip")
    assert read_texts(make_source(folder / "**" / "?a*", files="c.csv"), tmp_path) == [
        ("c.csv", "from csv")
    ]
    monkeypatch.setenv("HOME", str(folder.parent))
    assert read_texts(make_source("~/data/b*"), tmp_path) == [("b.csv", "from csv")]
    assert read_texts(make_source("~/data/b.csv"), tmp_path) == [("b.csv", "from csv")]


def test_configured_format_overrides_the_suffix(folder, tmp_path):
    (folder / "README.md").write_text(CSV)
    assert read_texts(make_source(folder, files="README.*"), tmp_path, "csv") == [
        ("README.md", "from csv")
    ]


def test_archive_is_read_as_a_folder(archive, tmp_path):
    assert read_texts(make_source(archive), tmp_path) == [
        ("c.csv", "from csv"),
        ("b.csv", "from csv"),
        ("a.jsonl.gz", "from jsonl"),
    ]
    assert read_texts(make_source(archive, files="pack/**/*.csv"), tmp_path) == [
        ("b.csv", "from csv")
    ]
    with pytest.raises(UserError, match=r"no file in outer\.ZIP matches '\*\.txt'"):
        read_texts(make_source(archive, files="*.txt"), tmp_path)


def test_url_of_a_file_or_archive_is_read(archive, folder, tmp_path):
    class QuietHandler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=tmp_path))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    for number, (path, rows) in enumerate(((folder / "b.csv", 1), (archive, 3))):
        source = {
            "kind": "url",
            "url": f"http://127.0.0.1:{server.server_port}/{path.relative_to(tmp_path)}",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "files": "**",
        }
        (tmp_path / str(number)).mkdir()
        assert len(read_texts(source, tmp_path / str(number))) == rows
    server.shutdown()
    server.server_close()


def test_missing_path_is_rejected(tmp_path):
    with pytest.raises(UserError, match=r"there is no file or folder '.*nothing'"):
        read_texts(make_source(tmp_path / "nothing"), tmp_path)
    with pytest.raises(UserError, match=r"there is no file or folder '.*nothing\.zip'"):
        read_texts(make_source(tmp_path / "nothing.zip"), tmp_path)
    with pytest.raises(UserError, match=r"there is no file or folder '~/nothing'"):
        read_texts(make_source("~/nothing"), tmp_path)
    with pytest.raises(UserError, match=r"'~nobody-here/a' does not exist: .*no such home folder"):
        read_texts(make_source("~nobody-here/a"), tmp_path)


def test_pattern_without_match_lists_what_is_there(folder, tmp_path):
    message = r"no file or folder matches '.*/\*\.parquet'; '.*data' has .*README.md.*b.csv, more"
    with pytest.raises(UserError, match=message):
        read_texts(make_source(folder / "*.parquet"), tmp_path)
    with pytest.raises(UserError, match=r"'.*/none' has no files"):
        read_texts(make_source(folder / "none" / "*.csv"), tmp_path)


def test_saved_dataset_among_several_folders_is_rejected(tmp_path):
    for name in ("a", "b"):
        datasets.Dataset.from_dict({"text": ["a"]}).save_to_disk(tmp_path / "saved" / name)
    with pytest.raises(UserError, match=r"'.*/saved/a' was written by `save_to_disk`, and cannot"):
        read_texts(make_source(tmp_path / "saved" / "*"), tmp_path)


def test_folder_of_save_to_disk_is_read_by_split(tmp_path):
    rows = datasets.Dataset.from_dict({"text": ["a", "b"]})
    splits = datasets.DatasetDict({"train": rows, "test": rows.select([1])})
    splits.save_to_disk(tmp_path / "saved")
    source = make_source(tmp_path / "saved", split="test")
    assert [text for _, text in read_texts(source, tmp_path)] == ["b"]


def test_split_of_another_file_is_rejected(tmp_path):
    (tmp_path / "data.csv").write_text(CSV)
    message = r"source\.split: '.*csv' is no folder that `save_to_disk` wrote"
    with pytest.raises(UserError, match=message):
        read_texts(make_source(tmp_path / "data.csv", split="test"), tmp_path)
