import gzip
import hashlib
import json
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


def of(path, **more):
    return {"kind": "path", "path": str(path), "files": "**", "split": None} | more


def texts(source, tmp_path, kind=None):
    scratch = tmp_path / "scratch"
    scratch.mkdir(exist_ok=True)
    found = load_source.load_source(source, kind and {"kind": kind, "columns": None}, scratch)
    assert (found.revision, found.licence) == (None, None)
    return [(name, row["text"]) for name, batch in found.file_batches for row in batch.to_pylist()]


@pytest.fixture
def folder(tmp_path):
    """Two files with rows, one without, one that is hidden."""
    path = tmp_path / "data"
    (path / "more").mkdir(parents=True)
    (path / "b.csv").write_text(CSV)
    (path / "more" / "a.jsonl.gz").write_bytes(gzip.compress(JSONL))
    (path / "README.md").write_text("# Data")
    (path / ".b.csv").write_text("hidden")
    return path


@pytest.fixture
def archive(folder, tmp_path):
    """A zip with a tar.gz in it that holds the folder's files."""
    inner = tmp_path / "inner.tar.gz"
    with tarfile.open(inner, "w:gz") as tar:
        tar.add(folder, "data")
    path = tmp_path / "outer.ZIP"
    with zipfile.ZipFile(path, "w") as outer:
        outer.write(inner, "pack/inner.tar.gz")
        outer.writestr("c.csv", CSV)
    return path


def test_a_folder_gives_the_files_whose_format_is_known(folder, tmp_path):
    assert texts(of(folder), tmp_path) == [("b.csv", "from csv"), ("a.jsonl.gz", "from jsonl")]
    assert texts(of(folder, files="*.csv"), tmp_path) == [("b.csv", "from csv")]
    assert texts(of(folder / "b.csv"), tmp_path) == [("b.csv", "from csv")]


def test_a_folder_without_a_known_format_says_what_is_there(folder, tmp_path):
    with pytest.raises(UserError) as error:
        texts(of(folder, files="*.md"), tmp_path)
    assert str(error.value) == (
        f"no file in {folder} that matches '*.md' ends in a format that is known; there are: "
        "README.md\n  hint: format: {kind: …} says what they are"
    )
    with pytest.raises(UserError, match=r"matches '\*.txt'; there are: README.md, b.csv, more/a"):
        texts(of(folder, files="*.txt"), tmp_path)


def test_a_stated_format_goes_before_names(folder, tmp_path):
    (folder / "README.md").write_text(CSV)
    assert texts(of(folder, files="README.*"), tmp_path, "csv") == [("README.md", "from csv")]


def test_archives_are_read_like_folders(archive, tmp_path):
    assert texts(of(archive), tmp_path) == [
        ("c.csv", "from csv"),
        ("b.csv", "from csv"),
        ("a.jsonl.gz", "from jsonl"),
    ]
    assert texts(of(archive, files="pack/**/*.csv"), tmp_path) == [("b.csv", "from csv")]
    with pytest.raises(UserError, match=r"no file in outer\.ZIP matches '\*\.txt'"):
        texts(of(archive, files="*.txt"), tmp_path)


def test_an_address_of_a_file_and_of_an_archive(archive, folder, tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    for number, (path, rows) in enumerate(((folder / "b.csv", 1), (archive, 3))):
        source = {
            "kind": "url",
            "url": f"http://127.0.0.1:{server.server_port}/{path.relative_to(tmp_path)}",
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "files": "**",
        }
        (tmp_path / str(number)).mkdir()
        assert len(texts(source, tmp_path / str(number))) == rows
    server.shutdown()
    server.server_close()


def test_a_path_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"there is no file or folder '.*nothing'"):
        texts(of(tmp_path / "nothing"), tmp_path)
    with pytest.raises(UserError, match=r"there is no file or folder '.*nothing\.zip'"):
        texts(of(tmp_path / "nothing.zip"), tmp_path)


@pytest.fixture
def saved(tmp_path):
    """What `save_to_disk` writes, in two files."""
    rows = datasets.Dataset.from_dict({"text": [f"row {i}" for i in range(5)]}, split="train")
    rows.save_to_disk(tmp_path / "one", num_shards=2)
    datasets.DatasetDict({"train": rows, "test": rows.select([4])}).save_to_disk(tmp_path / "two")
    datasets.DatasetDict({"all": rows}).save_to_disk(tmp_path / "single")
    return tmp_path


def test_what_save_to_disk_wrote(saved, tmp_path):
    found = texts(of(saved / "one"), tmp_path)
    assert [text for _, text in found] == [f"row {i}" for i in range(5)]
    assert {name for name, _ in found} == {f"data-0000{i}-of-00002.arrow" for i in range(2)}
    assert texts(of(saved / "one", split="train"), tmp_path) == found
    assert [text for _, text in texts(of(saved / "two", split="test"), tmp_path)] == ["row 4"]
    assert len(texts(of(saved / "single"), tmp_path)) == 5


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        ("two", None, r"source\.split: '.*two' has more than one split; splits: train, test"),
        ("two", "tset", r"'.*two' has no split 'tset'; did you mean 'test'\?; splits: train, test"),
        ("one", "test", r"source\.split: '.*one' has no splits; it is train"),
        ("data.csv", "test", r"source\.split: '.*csv' is no folder that `save_to_disk` wrote"),
    ],
)
def test_splits_that_are_not_there(saved, tmp_path, name, split, message):
    (saved / "data.csv").write_text(CSV)
    with pytest.raises(UserError, match=message):
        texts(of(saved / name, split=split), tmp_path)


def test_a_saved_folder_that_is_not_whole(saved, tmp_path):
    (saved / "two" / "test" / "data-00000-of-00001.arrow").unlink()
    with pytest.raises(UserError, match=r"'.*two/test' lacks data-00000-of-00001\.arrow"):
        texts(of(saved / "two", split="test"), tmp_path)
    (saved / "one" / "state.json").write_text("{}")
    with pytest.raises(UserError, match=r"'.*one' is not whole \(KeyError: '_data_files'\)"):
        texts(of(saved / "one"), tmp_path)
    state = {"_data_files": [{"filename": "../../secret.arrow"}], "_split": None}
    (saved / "one" / "state.json").write_text(json.dumps(state))
    with pytest.raises(UserError, match=r"'.*one' lacks secret\.arrow"):
        texts(of(saved / "one"), tmp_path)
