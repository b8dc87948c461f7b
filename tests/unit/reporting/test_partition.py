"""The plot of a partition."""

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from artifact_samples import partition_manifest
from hypothesis import given, settings
from hypothesis import strategies as st

from blossomtune.artifacts.checksums import write_checksums
from blossomtune.artifacts.partition_manifest import PartitionManifest
from blossomtune.reporting.partition import draw_partition

ROOT = Path(__file__).parents[3]


def build_manifest(counts, **held):
    """Return a manifest of clients with these rows by label; without labels if they are empty."""
    labels = {}
    for client in counts:
        for label, size in client.items():
            labels[label] = labels.get(label, 0) + size
    clients = [
        {"name": f"lab {i}", "rows": sum(c.values()) or 5, "labels": c or None}
        | {"validation": 0, "test": 0, "distance": i / len(counts) if c else None}
        | held
        for i, c in enumerate(counts)
    ]
    column = "label" if labels else None
    return partition_manifest(clients, label_column=column, labels=labels or None).model_dump()


def render(*counts, width=696.0, **held):
    return draw_partition(
        PartitionManifest.model_validate(build_manifest(*counts, **held)), width
    ).standalone()


def build_counts(clients, labels):
    return [{str(j): 1 + (i * j) % 7 for j in range(labels)} for i in range(clients)]


@given(
    st.lists(
        st.dictionaries(st.sampled_from("abcdefghijklm"), st.integers(1, 999), min_size=1),
        min_size=1,
        max_size=24,
    ),
    st.sampled_from([696.0, 340.0]),
)
@settings(max_examples=40)
def test_parts_of_a_client_add_up_to_its_rows(counts, width):
    svg = render(counts, width=width)
    for i, client in enumerate(counts):
        shown = re.findall(rf"<title>lab {i}, [^:]+: ([\d,]+)</title>", svg)
        assert sum(int(size.replace(",", "")) for size in shown) == sum(client.values())


@pytest.mark.parametrize("clients", [2, 20, 25, 1000])
@pytest.mark.parametrize("labels", [0, 2, 7, 200])
def test_figure_of_any_partition_is_a_small_described_file(clients, labels):
    svg = render(build_counts(clients, labels))
    root = ET.fromstring(svg)
    assert len(svg) < 100_000
    assert ("Jensen–Shannon distance from the whole: " in svg) == (labels > 0)
    assert ("193 others" in svg) == (labels == 200)
    assert ("Clients: a column each" in svg) == (clients == 25)
    assert ("Clients: a column for 5 (their mean)" in svg) == (clients == 1000)
    height, width = float(root.get("height")), float(root.get("width"))
    assert width == 696 + 48
    assert height < 900


@pytest.mark.parametrize("width", [696.0, 340.0])
def test_columns_stay_inside_and_are_proportional_to_rows(width):
    svg = render([{"a": 30}] * 500 + [{"b": 10}] * 500, width=width)
    areas = re.findall(r'd="(M[\d.,L]+)Z?"[^>]* fill="var\(--c\d\)"', svg)
    assert len(areas) == 2
    points = [tuple(map(float, p.split(","))) for area in areas for p in area[1:].split("L")]
    assert all(0 <= x <= width and 0 <= y <= 220 for x, y in points)
    heights = [
        220 - min(y for x, y in points if x == end(x for x, _ in points)) for end in (min, max)
    ]
    assert heights[0] == pytest.approx(3 * heights[1], abs=0.3)


def test_held_out_rows_are_counted():
    svg = render(build_counts(3, 2), validation=40, test=0)
    assert "The clients keep 120 rows for validation<" in svg
    assert "120 rows for validation and 15 rows for testing" in render(
        build_counts(3, 2), validation=40, test=5
    )


def test_external_clients_are_named():
    history = build_manifest([{}, {}])
    for name, share in zip(("clinic", "practice"), history["clients"], strict=True):
        unknown = dict.fromkeys(("rows", "validation", "test", "labels", "distance"))
        share |= {"name": name} | unknown
    svg = draw_partition(PartitionManifest.model_validate(history), 340).standalone()
    assert "Two clients, each with rows that stay with it" in svg
    assert "clinic and practice" in svg


def test_script_draws_the_figure_without_heavy_imports(tmp_path):
    partition = tmp_path / "partition"
    partition.mkdir()
    (partition / "manifest.json").write_text(json.dumps(build_manifest(build_counts(4, 3))))
    write_checksums(partition, "partition")
    command = [sys.executable, "-X", "importtime", "workflow_scripts/draw_partition.py"]
    command += ["--partition", str(partition), "--output", str(tmp_path / "figures" / "x.svg")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    ET.parse(tmp_path / "figures" / "x.svg")
    assert not re.search(r"\| +(torch|pyarrow|numpy|datasets)$", done.stderr, flags=re.M)
    (partition / "manifest.json").unlink()
    failed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert failed.returncode == 1
    assert "manifest.json: this file has been removed" in failed.stderr
