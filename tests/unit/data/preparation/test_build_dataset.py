"""Tests of building data sets: splits, counts and errors."""

import subprocess
import sys
from pathlib import Path

import pytest
from pyarrow import parquet

import blossomtune
from blossomtune.artifacts.dataset_manifest import RowCounts
from blossomtune.config.datasets import DatasetSettings
from blossomtune.data.preparation import build_dataset
from blossomtune.data.sources import load_source
from blossomtune.errors import UserError
from blossomtune.files import compute_file_sha256, read_json, to_canonical_json

SCRIPT = Path(blossomtune.__file__).parents[1] / "download.py"


@pytest.fixture
def folder(tmp_path):
    """Write two CSV files with repeated rows, and a README."""
    texts = tmp_path / "texts"
    texts.mkdir()
    for name, start in (("news.csv", 0), ("web.csv", 30)):
        lines = [f"text {start + i % 30},{i % 3}" for i in range(40)]
        (texts / name).write_text("text,score\n" + "\n".join(lines) + "\n")
    (texts / "readme.md").write_text("# Texts")
    return texts


def make_config(path, **changes):
    config = {
        "source": {"kind": "path", "path": str(path), "files": "*.csv"},
        "format": {"kind": "csv"},
        "derive": {"domain": "{{ file[:-4] }}"},
        "deduplicate_by": ["text"],
        "test": {"size": 12, "stratify_by": "domain"},
        **changes,
    }
    return DatasetSettings.model_validate(config).model_dump(mode="json") | {"seed": 5}


def build(config, out):
    out.mkdir()
    return build_dataset.build_dataset(config, out).model_dump()


def make_counts(**rows):
    return dict.fromkeys(RowCounts.model_fields, 0) | rows


def build_tables(folder, out, **changes):
    """Return manifest, training rows and test rows."""
    manifest = build(make_config(folder, **changes), out)
    return manifest, *(parquet.read_table(out / f"{n}.parquet") for n in ("train", "test"))


def test_test_texts_are_not_in_the_training_rows(folder, tmp_path):
    out = tmp_path / "out"
    manifest = build(make_config(folder), out)
    train, test = (parquet.read_table(out / f"{n}.parquet") for n in ("train", "test"))
    assert manifest["rows"] == make_counts(read=80, duplicates=20, train=48, test=12)
    assert not set(train["text"].to_pylist()) & set(test["text"].to_pylist())
    assert test["domain"].to_pylist() == ["news"] * 6 + ["web"] * 6
    assert train["score"].type == "int64"
    assert manifest["columns"] == ["text", "score", "domain"]
    assert manifest["files"]["test.parquet"] == compute_file_sha256(out / "test.parquet")
    assert sorted(p.name for p in out.iterdir()) == [
        "manifest.json",
        "test.parquet",
        "train.parquet",
    ]


def test_manifest_says_how_files_were_read(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(folder.parent))
    (folder / "odd.csv").write_bytes("text;score\nodd Ü;1\n".encode("cp1252"))
    (folder / "bad.jsonl").write_text('{"text": "bad", "score": 2}\n{\n[]\n')
    source = {"kind": "path", "path": "~/te?ts", "files": "*.*s*"}  # csv and jsonl
    manifest = build(
        make_config(folder, source=source, format={"on_bad_line": "skip"}), tmp_path / "o"
    )
    detected = ["encoding", "quotechar", "delimiter"]
    read = {"skipped": 0, "sheet": None, "quotechar": '"', "detected": detected, "format": "csv"}
    assert manifest["readings"] == [
        {"files": 1, "first_file": "bad.jsonl", "format": "jsonl", "encoding": "utf-8"}
        | {"delimiter": None, "quotechar": None, "sheet": None}
        | {"detected": ["encoding"], "skipped": 2},
        read | {"files": 2, "first_file": "news.csv", "encoding": "utf-8", "delimiter": ","},
        read | {"files": 1, "first_file": "odd.csv", "encoding": "cp1252", "delimiter": ";"},
    ]
    assert (manifest["rows"]["read"], manifest["rows"]["skipped"]) == (82, 2)
    assert manifest["source"]["path"] == "~/te?ts"
    assert str(folder.parent) not in (tmp_path / "o" / "manifest.json").read_text()


def test_two_builds_have_the_same_bytes(folder, tmp_path):
    for name in ("one", "two"):
        build(make_config(folder), tmp_path / name)
    for name in ("train.parquet", "test.parquet", "manifest.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


ROWS = [f"text {i}" for i in range(60)]  # in the order of the files


def test_rows_stay_in_order_unless_shuffled(folder, tmp_path):
    _, train, test = build_tables(folder, tmp_path / "one")
    both = train["text"].to_pylist(), test["text"].to_pylist()
    assert sorted(both[0] + both[1], key=ROWS.index) == ROWS
    assert all(part == sorted(part, key=ROWS.index) for part in both)
    orders = []
    for i, seed in enumerate((7, 7, 8)):
        _, train, test = build_tables(folder, tmp_path / f"s{i}", shuffle_seed=seed)
        orders.append(train["text"].to_pylist())
        assert sorted(orders[-1] + test["text"].to_pylist(), key=ROWS.index) == ROWS
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != sorted(orders[0], key=ROWS.index)


def test_limit_applies_after_shuffling_and_before_the_split(folder, tmp_path):
    manifest, train, test = build_tables(folder, tmp_path / "one", limit=20, test={"size": 0.5})
    assert manifest["rows"] == make_counts(read=80, duplicates=20, limited=40, train=10, test=10)
    both = train["text"].to_pylist() + test["text"].to_pylist()
    assert sorted(both, key=ROWS.index) == ROWS[:20]
    _, train, test = build_tables(
        folder, tmp_path / "two", limit=20, shuffle_seed=1, test={"size": 0.5}
    )
    both = train["text"].to_pylist() + test["text"].to_pylist()
    assert len(both) == 20
    assert set(both) != set(ROWS[:20])


def test_filtered_rows_are_counted(folder, tmp_path):
    changes = {"filter": "score == 1 and domain == 'web'", "columns": ["text", "domain"]}
    manifest, train, test = build_tables(folder, tmp_path / "one", **changes, test={"size": 1})
    assert train.column_names == test.column_names == manifest["columns"] == ["text", "domain"]
    assert set(train["domain"].to_pylist()) == {"web"}
    # 13 of the 40 rows of web.csv have a score of 1, three of them twice
    assert manifest["rows"] == make_counts(read=80, filtered=67, duplicates=3, train=9, test=1)


def test_normalised_deduplication_ignores_case_and_punctuation(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"t": "One, two!"}\n{"t": "three"}\n{"t": "one TWO"}\n{"t": "four"}\n')
    changes = {"format": None, "derive": {}, "deduplicate_by": ["t"], "test": {"size": 1}}
    exact, *_ = build_tables(path, tmp_path / "exact", **changes)
    normalised, train, test = build_tables(
        path, tmp_path / "normalised", **changes, deduplicate_as="normalised"
    )
    assert (exact["rows"]["duplicates"], normalised["rows"]["duplicates"]) == (0, 1)
    left = train["t"].to_pylist() + test["t"].to_pylist()
    assert sorted(left) == ["One, two!", "four", "three"]


def test_size_all_makes_all_rows_test_rows(folder, tmp_path):
    manifest, train, test = build_tables(folder, tmp_path / "out", test={"size": "all"})
    assert manifest["rows"] == make_counts(read=80, duplicates=20, test=60)
    assert (train.num_rows, train.schema) == (0, test.schema)


@pytest.fixture
def test_source(tmp_path):
    path = tmp_path / "exam.jsonl"
    rows = [f'{{"score": {i % 2}.5, "text": "TEXT {i * 7}"}}' for i in range(10)]
    path.write_text("\n".join(rows))
    return {"kind": "path", "path": str(path)}


def test_separate_test_source_is_deduplicated_against(folder, test_source, tmp_path):
    changes = {"format": None, "rename": {"score": "grade"}, "deduplicate_as": "normalised"}
    test_config = {"source": test_source, "stratify_by": "grade"}
    manifest, train, test = build_tables(folder, tmp_path / "all", **changes, test=test_config)
    assert test["text"].to_pylist() == [f"TEXT {i * 7}" for i in range(10)]
    assert train["text"].to_pylist() == [
        text
        for i, text in enumerate(ROWS)
        if i % 7  # nine of the ten test texts are training texts
    ]
    assert train.schema == test.schema
    assert test.column_names == ["text", "grade", "domain"]
    assert set(test["domain"].to_pylist()) == {"exam.j"}
    assert manifest["rows"] == make_counts(read=90, duplicates=29, train=51, test=10)
    for size, rows in ((4, 4), (0.5, 5), (10, 10)):
        manifest, train, test = build_tables(
            folder, tmp_path / str(size), **changes, limit=30, test=test_config | {"size": size}
        )
        assert (manifest["rows"]["test"], train.num_rows, test.num_rows) == (rows, 30, rows)
        assert not set(train["text"].to_pylist()) & {t.lower() for t in test["text"].to_pylist()}
        row_counts = manifest["rows"]
        removed = sum(row_counts[key] for key in ("filtered", "duplicates", "limited"))
        assert row_counts["read"] - removed == row_counts["train"] + row_counts["test"]
        if size == 4:
            assert sorted(test["grade"].to_pylist()) == [0.5, 0.5, 1.5, 1.5]


def test_without_deduplication_no_row_is_removed(folder, test_source, tmp_path):
    changes = {"format": None, "deduplicate_by": [], "test": {"source": test_source}}
    manifest, *_ = build_tables(folder, tmp_path / "out", **changes)
    assert manifest["rows"] == make_counts(read=90, train=80, test=10)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"filter": "score > 5"}, r"filter: 'score > 5' is true of no row"),
        ({"test": {"size": 60}}, r"test\.size: 60 of 60 rows leaves none to train on"),
        ({"test": {"stratify_by": "x"}}, r"test\.stratify_by: there is no column 'x'"),
        (
            {"test": {"size": "all", "stratify_by": "x"}},
            r"test\.stratify_by: there is no column 'x'",
        ),
        ({"columns": ["domain"]}, "deduplicate_by: there is no column 'text'; columns: domain"),
        ({"source": "empty"}, "^there are no rows in the source"),
        ({"test": {"source": "empty"}}, r"^test\.source: there are no rows in the source"),
        ({"test": {"source": "exam", "size": 11}}, r"test\.size: 11, but test\.source has only 10"),
        (
            {"test": {"source": "exam"}, "filter": "domain != 'exam.j'"},
            "^test.source: filter: \"domain != 'exam.j'\" is true of no row",
        ),
        (
            {"test": {"source": "exam"}, "filter": "score != 2"},
            "deduplicate_by: every training row is equal to a test row",
        ),
        (
            {"test": {"source": "other"}, "deduplicate_by": []},
            r"test\.source has the columns x, domain, but source has text, score, domain",
        ),
    ],
)
def test_missing_rows_and_columns_are_reported(folder, test_source, tmp_path, changes, message):
    (tmp_path / "empty.csv").write_text("text,score\n")
    (tmp_path / "other.jsonl").write_text('{"x": 1}')
    sources = {
        "empty": {"kind": "path", "path": str(tmp_path / "empty.csv")},
        "other": {"kind": "path", "path": str(tmp_path / "other.jsonl")},
        "exam": test_source,
    }
    changes = {"format": None} | changes
    if isinstance(changes.get("source"), str):
        changes["source"] = sources[changes["source"]]
    if "source" in changes.get("test", {}):
        changes["test"] = changes["test"] | {"source": sources[changes["test"]["source"]]}
    if "every training row" in message:
        (tmp_path / "exam.jsonl").write_text(
            "\n".join(f'{{"text": "{text}", "score": 0}}' for text in ROWS)
        )
    with pytest.raises(UserError, match=message):
        build(make_config(folder, **changes), tmp_path / "out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"deduplicate_by": ["txt"]},
            "no column 'txt'; did you mean 'text'[?] columns: text, score",
        ),
        ({"derive": {"x": "{{ txt }}"}, "test": {}}, "row 0 of news.csv: derive.x: there is no"),
    ],
)
def test_unknown_columns_are_reported(folder, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        build(make_config(folder, **changes), tmp_path / "out")


def test_files_with_different_columns_are_rejected(folder, tmp_path):
    (folder / "z.csv").write_text("text,stars\na,1\n")
    with pytest.raises(
        UserError, match=r"z\.csv has the columns text, stars, but news\.csv has text, score"
    ):
        build(make_config(folder), tmp_path / "out")


def test_missing_folder_is_rejected(tmp_path):
    with pytest.raises(UserError, match=r"source\.path: there is no file or folder '.*nowhere'"):
        build(make_config(tmp_path / "nowhere"), tmp_path / "out")


def test_pattern_without_match_lists_the_files(folder):
    with pytest.raises(
        UserError, match=r"matches '\*\.tsv'; there are: news.csv, readme.md, web.csv"
    ):
        load_source.list_local_files(folder, "*.tsv")


def test_script_writes_nothing_after_an_error(folder, tmp_path):
    def run_script(config):
        command = [
            sys.executable,
            SCRIPT,
            "--config",
            to_canonical_json(config),
            "--output",
            tmp_path / "out",
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    failed = run_script(make_config(folder, deduplicate_by=["txt"]))
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: deduplicate_by: there is no column 'txt'")
    assert "Traceback" not in failed.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["texts"]

    result = run_script(make_config(folder))
    assert result.stdout == (
        "rows: 80 read, 0 skipped, 0 filtered, 20 duplicates, 0 limited, 48 train, 12 test\n"
    )
    assert read_json(tmp_path / "out" / "manifest.json")["seed"] == 5
