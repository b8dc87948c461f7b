"""Scripts read their configuration from a file and can write a benchmark file."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

LIBRARY = Path(__file__).parents[2] / "workflow_scripts"

SCRIPT = """
import sys
from pathlib import Path
from blossomtune.cli import build_parser, run_script, write_benchmark

def main():
    parser = build_parser("test")
    parser.add_argument("--benchmark", type=Path)
    args = parser.parse_args()
    with write_benchmark(args.benchmark):
        print(args.config["name"])
        assert not args.config.get("fails")

run_script(main)
"""


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, arguments)],
        env=os.environ | {"PYTHONPATH": str(LIBRARY)},
        capture_output=True,
        text=True,
    )


def test_configuration_is_a_file_or_a_json_object(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"name": "file"}))
    assert run("--config", file).stdout == "file\n"
    assert run("--config", '{"name": "object"}').stdout == "object\n"


def test_missing_configuration_file_is_an_error(tmp_path):
    result = run("--config", tmp_path / "missing.json")
    assert result.returncode != 0
    assert "missing.json" in result.stderr


def test_benchmark_has_the_columns_that_the_report_reads(tmp_path):
    file = tmp_path / "below" / "benchmark.tsv"
    assert run("--config", '{"name": ""}', "--benchmark", file).returncode == 0
    (row,) = csv.DictReader(file.read_text().splitlines(), delimiter="\t")
    assert 0 < float(row["s"]) < 60
    assert 5 < float(row["max_rss"]) < 1000


def test_failed_script_leaves_no_benchmark(tmp_path):
    file = tmp_path / "benchmark.tsv"
    assert run("--config", '{"name": "", "fails": 1}', "--benchmark", file).returncode == 1
    assert not file.exists()
