import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

from blossomtune.config.dataset import Dataset
from blossomtune.data import dataset, sources
from blossomtune.errors import UserError
from blossomtune.files import canonical, read_json, sha256

STEP = Path(__file__).parents[2] / "workflow_scripts" / "download.py"


@pytest.fixture
def folder(tmp_path):
    """Two files of rows, some of which repeat, and one that is something else."""
    texts = tmp_path / "texts"
    texts.mkdir()
    for name, start in (("news.csv", 0), ("web.csv", 30)):
        lines = [f"text {start + i % 30},{i % 3}" for i in range(40)]
        (texts / name).write_text("text,score\n" + "\n".join(lines) + "\n")
    (texts / "readme.md").write_text("# Texts")
    return texts


def block(path, **changes):
    given = {
        "source": {"kind": "path", "path": str(path), "files": "*.csv"},
        "format": {"kind": "csv"},
        "derive": {"domain": "{{ file[:-4] }}"},
        "deduplicate_by": ["text"],
        "test": {"size": 12, "stratify_by": "domain"},
        **changes,
    }
    return Dataset.model_validate(given).model_dump(mode="json") | {"seed": 5}


def build(config, out):
    out.mkdir()
    return dataset.build(config, out)


def test_held_out_texts_reach_no_client(folder, tmp_path):
    out = tmp_path / "out"
    manifest = build(block(folder), out)
    train, test = (parquet.read_table(out / f"{n}.parquet") for n in ("train", "test"))
    assert manifest["rows"] == {"read": 80, "duplicates": 20, "train": 48, "test": 12}
    assert not set(train["text"].to_pylist()) & set(test["text"].to_pylist())
    assert test["domain"].to_pylist() == ["news"] * 6 + ["web"] * 6
    assert train["score"].type == "int64"
    assert manifest["columns"] == ["text", "score", "domain"]
    assert manifest["files"]["test.parquet"] == sha256(out / "test.parquet")
    assert sorted(p.name for p in out.iterdir()) == [
        "manifest.json",
        "test.parquet",
        "train.parquet",
    ]


def test_two_runs_give_the_same_bytes(folder, tmp_path):
    for name in ("one", "two"):
        build(block(folder), tmp_path / name)
    for name in ("train.parquet", "test.parquet", "manifest.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": None}, "format: missing; files of kind: path need one"),
        (
            {"deduplicate_by": ["txt"]},
            "no column 'txt'; did you mean 'text'[?] columns: text, score",
        ),
        ({"derive": {"x": "{{ txt }}"}, "test": {}}, "row 0 of news.csv: derive.x: there is no"),
    ],
)
def test_blocks_that_do_not_fit_the_files(folder, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        build(block(folder, **changes), tmp_path / "out")


def test_files_with_other_columns(folder, tmp_path):
    (folder / "z.csv").write_text("text,stars\na,1\n")
    with pytest.raises(
        UserError, match=r"z\.csv has the columns text, stars, domain, but news\.csv"
    ):
        build(block(folder), tmp_path / "out")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match=r"source\.path: there is no file or folder '.*nowhere'"):
        build(block(tmp_path / "nowhere"), tmp_path / "out")


def test_a_pattern_that_matches_no_file_lists_those_that_there_are(folder):
    with pytest.raises(
        UserError, match=r"matches '\*\.tsv'; there are: news.csv, readme.md, web.csv"
    ):
        sources.local(folder, "*.tsv")


def test_the_step_writes_all_or_nothing(folder, tmp_path):
    def step(config):
        command = [
            sys.executable,
            STEP,
            "--config",
            canonical(config),
            "--output",
            tmp_path / "out",
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    failed = step(block(folder, deduplicate_by=["txt"]))
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: deduplicate_by: there is no column 'txt'")
    assert "Traceback" not in failed.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["texts"]

    done = step(block(folder))
    assert done.stdout == "rows: 80 read, 20 duplicates, 48 train, 12 test\n"
    assert read_json(tmp_path / "out" / "manifest.json")["seed"] == 5
