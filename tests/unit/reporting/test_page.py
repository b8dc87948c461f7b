"""The whole page."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import ClassVar

import pytest
import yaml
from sample_results import (
    CLIENTS,
    build_history,
    get_visible_text,
    render_report,
    update_manifest,
    write_results,
)

from blossomtune import files
from blossomtune.artifacts.checksums import write_checksums
from blossomtune.config import stage_inputs
from blossomtune.config.load import load_configuration
from blossomtune.reporting import formatting
from blossomtune.reporting.result_folders import ResultFolders

ROOT = Path(__file__).parents[3]


HOSTILE = '<script>alert("x")</script> & \x07"sons"'


def test_header_states_the_outcome(results, raw):
    html = render_report(write_results(results, raw), results)
    h1 = get_visible_text(re.search(r"<h1>(.*?)</h1>", html).group(1))
    assert h1 == (
        "Four clients taught smollm2-135m-instruct together, without pooling their data: "
        "accuracy on 400 held-out examples rose from 42 % to 72 %."
    )


def test_page_loads_no_other_files(results, raw):
    html = render_report(write_results(results, raw), results)

    class References(HTMLParser):
        references: ClassVar = []

        def handle_starttag(self, tag, attrs):
            self.references += [
                (tag, k, v) for k, v in attrs if re.search("//|url|@import", v or "")
            ]
            assert tag not in {"script", "link", "iframe", "img", "object", "embed"}

    parser = References()
    parser.feed(html)
    assert {(tag, attribute) for tag, attribute, _ in parser.references} == {("a", "href")}
    assert not re.search(r"url\(|@import", html)


def test_numbers_agree_with_the_inputs(results, raw):
    text = get_visible_text(render_report(write_results(results, raw), results))
    rounds = build_history()["rounds"]
    moved = sum(r["bytes_down"] + r["bytes_up"] for r in rounds) / 1e6
    assert f"{moved:.1f} MB in all" in text
    assert "+30.0 points, with a 95 % interval from +25.9 to +34.1." in text
    assert "42.0 % (37.5 % to 46.5 %)" in text
    assert "72.0 % (67.5 % to 76.5 %)" in text
    assert "23,703 rows read, 193 duplicates removed, 400 held out, 23,110 left" in text
    assert (
        "no logit of the merged model differs from base and adapter by more than 1.9 × 10⁻⁵" in text
    )
    assert "in all23,1108,3275,0069,7771,484,8166960" in text  # the clients' table, added up
    assert "Always answering “negative”, the most frequent answer, would score 40 %." in text
    assert "in all56 min 03 s" in text  # 41.2 + 9.4 + 203.5 + 11 + 97.8: other runs do not count


def test_figures_show_every_value(results, raw):
    render_report(write_results(results, raw), results)
    folder = results / "report/figures/quickstart"
    loss = (folder / "loss.svg").read_text(encoding="utf-8")
    for record in build_history()["rounds"]:
        for c in record["clients"]:
            shown = (
                f"{c['name']}, round {record['round']}: {formatting.format_number(c['train_loss'])}"
            )
            assert f"<title>{shown}</title>" in loss
        start = f"round {record['round']}" if record["round"] else "start"
        assert (
            f"held-out, {start}: {formatting.format_number(record['evaluation']['loss'])}" in loss
        )
    assert {path.name for path in folder.iterdir()} == {
        "drift.svg",
        "loss.svg",
        "outcome.svg",
        "traffic.svg",
    }
    assert "federate" in (results / "report/figures/time.svg").read_text(encoding="utf-8")


def test_hostile_names_stay_text(results, raw):
    raw["report"] = {"title": HOSTILE.replace("\x07", ""), "description": "<b>bold</b>"}
    html = render_report(write_results(results, raw, rename={"tweets": HOSTILE}), results)
    assert "<script" not in html
    assert "<b>" not in html
    assert '<script>alert("x")</script>' in get_visible_text(html)
    for figure in (results / "report/figures").rglob("*.svg"):
        ET.parse(figure)


def test_report_has_the_same_bytes_twice(results, raw):
    c = write_results(results, raw)
    render_report(c, results)
    first = {p: files.compute_file_sha256(p) for p in (results / "report").rglob("*.*")}
    render_report(c, results)
    assert first == {p: files.compute_file_sha256(p) for p in (results / "report").rglob("*.*")}
    assert len(first) == 7


def test_shown_configuration_defines_the_same_run(results, raw):
    c = write_results(results, raw)
    html = render_report(c, results)
    shown = re.search(
        r"The whole configuration</summary>\s*<pre><code>(.*?)</code>", html, re.DOTALL
    )
    assert stage_inputs.report(
        load_configuration(yaml.safe_load(unescape(shown.group(1))))
    ) == stage_inputs.report(c)


def test_failed_clients_are_named(results, raw):
    text = get_visible_text(render_report(write_results(results, raw, failed={(2, 1)}), results))
    assert "One failure. The rounds went on with the other clients." in text
    assert "Round 2: movieReviews: OutOfMemoryError: <no room>" in text


def test_texts_of_clients_are_shown_as_text(results, raw):
    """`failures` and `rejection` are the texts that clients, or their tensors' names, can reach."""
    configuration = write_results(results, raw, failed={(2, 1)})
    [path] = results.glob("experiments/*/history.json")
    history = json.loads(path.read_text())
    evil = "<script>alert(1)</script>"
    history["rounds"][2]["failed"][0]["reason"] = evil
    history["rounds"][2]["rejection"] = evil
    path.write_text(json.dumps(history))
    page = render_report(configuration, results)
    assert evil not in page
    assert page.count("Round 2: ") >= 2
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") == 2
    assert "One round without effect." in get_visible_text(page)


def remove_choices(metrics):
    """metrics.json of an experiment that names no choices."""
    for name, m in metrics.items():
        if name == "difference":
            for each in m.values():
                each["accuracy"] = None
        elif name in ("base", "federated"):
            m |= {"accuracy": None, "macro_f1": None, "answer_metrics": None, "confusion": None}
            m |= {"by": None, "by_column": None}
            for part in m["clients"].values():
                part["accuracy"] = None
            m["fairness"]["measure"] = "loss"


def test_header_states_the_loss_without_choices(results, raw):
    c = write_results(results, raw)
    update_manifest(results, "experiments/*/metrics.json", remove_choices)
    html = render_report(c, results)
    assert "the loss on 400 held-out examples fell from 1.91 to 0.41" in get_visible_text(html)
    assert "ccuracy" not in get_visible_text(html.split("The whole configuration")[0])


def test_page_of_many_clients_labels_and_rounds_is_small(results, raw):
    c = write_results(results, raw)
    path = results / "partitions/by-domain/manifest.json"
    manifest = files.read_json(path)
    manifest["clients"] = [
        {
            "client": i,
            "name": f"client {i}",
            "rows": 120,
            "labels": {f"l{j}": 1 for j in range(120)},
        }
        | {"validation": 0, "test": 0, "distance": 0.5, "files": {}, "tokens": 9, "sha256": ""}
        for i in range(120)
    ]
    manifest["labels"] = {f"l{j}": 120 for j in range(120)}
    files.write_json(path, manifest)
    files.write_json(results / "experiments/quickstart/history.json", build_history(rounds=200))
    html = render_report(c, results)
    assert "client 119" in html
    assert len(html) < 1_000_000


def test_clients_are_plotted_with_all_their_labels(results, raw):
    html = render_report(write_results(results, raw), results)
    for name, labels in CLIENTS.items():
        for label, size in labels.items():
            assert f"{name}, {label}: {size:,}" in html
    assert "Jensen–Shannon distance from the whole: 0.150 on average, 0.000 to 0.300" in html


def test_other_files_beside_the_page_stay(results, raw):
    c = write_results(results, raw)
    render_report(c, results)
    other = results / "report/partitions/by-domain.svg"
    other.parent.mkdir()
    other.write_text("drawn by another rule")
    (results / "report/figures/gone.svg").touch()
    render_report(c, results)
    assert other.read_text() == "drawn by another rule"
    assert not (results / "report/figures/gone.svg").exists()


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "url", "url": "https://example.org/a.csv", "sha256": "0" * 64, "files": "**"},
        {"kind": "mixture", "datasets": ["one", "two"], "weights": None},
        {"kind": "path", "path": "own/data"},
    ],
)
def test_every_source_is_named(results, raw, source):
    c = write_results(results, raw)
    update_manifest(results, "datasets/*/manifest.json", lambda m: m.update(source=source))
    named = {"url": "https://example.org/a.csv", "mixture": "a mixture of one, two"}
    assert named.get(source["kind"], "own/data") in get_visible_text(render_report(c, results))


def test_report_script_writes_the_page(results, raw):
    c = write_results(results, raw)
    configuration = stage_inputs.report(c)["configuration"]
    folders = ResultFolders.find(results, configuration, "quickstart")
    for stage, folder in vars(folders).items():
        write_checksums(folder, stage)
    command = [sys.executable, "workflow_scripts/report.py", "--results", str(results)]
    command += [
        "--config",
        files.to_canonical_json(stage_inputs.report(c)),
        "--output",
        str(results / "report"),
    ]
    subprocess.run(command, cwd=ROOT, check=True)
    assert (results / "report/index.html").is_file()
    (results / "experiments/quickstart/metrics.json").unlink()
    failed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert "Traceback" not in failed.stderr
