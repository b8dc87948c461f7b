"""Tests of what a script prints when it fails, and of its log."""

import csv
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[2] / "workflow_scripts"


def run(body: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a script whose main function is ``body``."""
    script = "import sys\nfrom pathlib import Path\nfrom blossomtune import cli\n"
    script += (
        f"def main():\n{textwrap.indent(textwrap.dedent(body), '    ')}\ncli.run_script(main)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(LIBRARY), **variables}
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.fixture
def full_disk(tmp_path):
    """Yield a folder on a disk of 1 MiB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    try:
        mounted = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if mounted.returncode:
        pytest.skip(f"mounting a small disk needs root: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


WRITERS = {
    "files": """
        from blossomtune.files import write_atomically
        with write_atomically(Path(sys.argv[1]) / "out") as partial:
            partial.write_bytes(bytes(3_000_000))
    """,
    "parquet": """
        import os, pyarrow as pa
        from blossomtune.files import write_atomically
        from blossomtune.data.sources.file_formats import write_parquet
        with write_atomically(Path(sys.argv[1]) / "out") as partial:
            rows = pa.record_batch({"a": [os.urandom(1000) for _ in range(3000)]})
            write_parquet([rows], rows.schema, partial)
    """,
    "spool": """
        import os, pyarrow as pa
        from blossomtune.files import write_atomically
        from blossomtune.data.preparation.disk_table import DiskTable
        with write_atomically(Path(sys.argv[1]) / "out", directory=True) as partial:
            spool = DiskTable(partial / "spool")
            for _ in range(300):
                spool.append(pa.record_batch({"a": [os.urandom(1000) for _ in range(100)]}))
    """,
    "arrow stream": """
        import pyarrow as pa
        from blossomtune.files import write_atomically
        batch = pa.record_batch({"a": [bytes(1000)] * 3000})
        with write_atomically(Path(sys.argv[1]) / "out") as partial:
            with pa.OSFile(str(partial), "wb") as file, pa.ipc.new_stream(file, batch.schema) as s:
                s.write_batch(batch)
    """,
    "safetensors": """
        import torch
        from safetensors.torch import save_file
        from blossomtune.files import write_atomically
        with write_atomically(Path(sys.argv[1]) / "out") as partial:
            save_file({"a": torch.zeros(1_000_000)}, partial)
    """,
}


@pytest.mark.parametrize("writer", WRITERS)
def test_full_disk_is_reported_without_traceback(full_disk, writer):
    failed = run(WRITERS[writer], str(full_disk))
    assert failed.returncode == 1
    assert re.fullmatch(
        rf"error: no space left on the disk while writing {full_disk}/out: "
        rf"[01]\.\d MB are written, and [01]\.\d MB are free on {full_disk}\n"
        rf"  hint: free some space on {full_disk} and run the same command again; "
        r"finished stages are kept\n",
        failed.stderr,
    )
    assert not list(full_disk.iterdir())


def test_file_of_known_size_is_refused_with_the_bytes_to_free(full_disk):
    body = """
        from blossomtune.files import write_atomically
        folder = Path(sys.argv[1])
        (folder / "other").write_bytes(bytes(700_000))
        with write_atomically(folder / "out", num_bytes=3_000_000) as partial:
            partial.write_bytes(bytes(3_000_000))
    """
    failed = run(body, str(full_disk))
    assert failed.stderr == (
        f"error: no space left on the disk while writing {full_disk}/out: 0.3 MB of 3.0 MB are "
        f"written, and 0.0 MB are free on {full_disk}\n  hint: free 2.7 MB on {full_disk} and run "
        "the same command again; finished stages are kept\n"
    )


def test_full_disk_of_an_unknown_file_is_named(full_disk):
    failed = run(
        """
        import os
        descriptor = os.open(sys.argv[1] + "/out", os.O_CREAT | os.O_WRONLY)
        while True:
            os.write(descriptor, bytes(100_000))
        """,
        str(full_disk),
    )
    assert re.search(
        rf"error: no space left on the disk: .*{full_disk} (is|are) full\n  hint: free",
        failed.stderr,
    )


def test_audit_log_on_a_full_disk_is_an_error_and_goes_on_later(full_disk):
    body = """
        from blossomtune.artifacts.audit_events import RunStarted
        from blossomtune.artifacts.audit_log import AuditLog, read_audit_log
        path = Path(sys.argv[1]) / "audit.jsonl"
        log = AuditLog(path)
        for number in range(int(sys.argv[2])):
            log.append(RunStarted(run="0123456789abcdef", round=number))
        print(len(read_audit_log(path)))
    """
    (full_disk / "other").write_bytes(bytes(1_000_000))
    failed = run(body, str(full_disk), "1000")
    assert failed.stderr.startswith(
        f"error: no space left on the disk while writing {full_disk}/audit.jsonl: "
    )
    assert f"free some space on {full_disk} and run the same command again" in failed.stderr
    assert not (full_disk / "audit.jsonl").read_text().endswith("\n")
    (full_disk / "other").unlink()
    assert int(run(body, str(full_disk), "1").stdout) > 100


def test_user_error_has_no_traceback():
    failed = run("from blossomtune.errors import UserError\nraise UserError('no', 'say yes')")
    assert (failed.returncode, failed.stderr) == (1, "error: no\n  hint: say yes\n")


def test_other_error_keeps_its_traceback():
    failed = run("1 / 0")
    assert failed.returncode == 1
    assert "ZeroDivisionError" in failed.stderr


LOGGING = """
    import logging, bitsandbytes, tqdm
    cli.build_parser("", has_config=False).parse_args()
    for level in (logging.DEBUG, logging.INFO):
        logging.getLogger("blossomtune.data").log(level, "%s of the library", level)
    logging.getLogger("bitsandbytes.backends.cpu.ops").warning("a missing kernel")
    logging.getLogger("bitsandbytes").error("an error of bitsandbytes")
    for _ in tqdm.tqdm(range(3)):
        pass
"""


def test_log_has_messages_and_errors_but_no_bars_and_notes_of_libraries():
    result = run(LOGGING)
    assert (result.returncode, result.stdout) == (0, "")
    assert result.stderr == "20 of the library\nan error of bitsandbytes\n"


@pytest.mark.parametrize(
    ("arguments", "variables"), [(["--verbose"], {}), ([], {"BLOSSOMTUNE_LOG_LEVEL": "debug"})]
)
def test_verbose_log_has_debug_messages_and_notes_of_libraries(arguments, variables):
    result = run(LOGGING, *arguments, **variables)
    assert "10 of the library\n20 of the library\n" in result.stderr
    assert "a missing kernel\n" in result.stderr


def test_unknown_log_level_is_rejected():
    result = run("pass", BLOSSOMTUNE_LOG_LEVEL="loud")
    assert result.returncode == 1
    assert result.stderr.startswith("error: BLOSSOMTUNE_LOG_LEVEL: 'LOUD' is not a log level")


READ_CONFIG = """
    parser = cli.build_parser("test")
    parser.add_argument("--benchmark", type=Path)
    args = parser.parse_args()
    with cli.write_benchmark(args.benchmark):
        print(args.config["name"])
        assert not args.config.get("fails")
"""


def test_configuration_is_a_file_or_a_json_object(tmp_path):
    file = tmp_path / "config.json"
    file.write_text('{"name": "file"}')
    assert run(READ_CONFIG, "--config", str(file)).stdout == "file\n"
    assert run(READ_CONFIG, "--config", '{"name": "object"}').stdout == "object\n"


def test_missing_configuration_file_is_an_error(tmp_path):
    result = run(READ_CONFIG, "--config", str(tmp_path / "missing.json"))
    assert result.returncode != 0
    assert "missing.json" in result.stderr


def test_benchmark_has_the_columns_that_the_report_reads(tmp_path):
    file = tmp_path / "below" / "benchmark.tsv"
    run(READ_CONFIG, "--config", '{"name": ""}', "--benchmark", str(file))
    (row,) = csv.DictReader(file.read_text().splitlines(), delimiter="\t")
    assert 0 < float(row["s"]) < 60
    assert 5 < float(row["max_rss"]) < 1000


def test_failed_script_leaves_no_benchmark(tmp_path):
    file = tmp_path / "benchmark.tsv"
    failed = run(READ_CONFIG, "--config", '{"name": "", "fails": 1}', "--benchmark", str(file))
    assert failed.returncode == 1
    assert not file.exists()
