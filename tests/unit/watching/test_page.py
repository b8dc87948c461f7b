"""The page shows a run before, during and after it, and names of clients as text."""

import os
import time

import artifact_samples as samples

from blossomtune.artifacts.files import write_artifact
from blossomtune.artifacts.progress import Progress
from blossomtune.watching.page import format_duration, render_page
from blossomtune.watching.progress import read_experiments

EVIL = "<script>alert('1')</script>&"
FAILURE = {"client": 1, "name": "b", "bytes_down": 1, "bytes_up": 0, "reason": "gone"}


def make_rounds(number):
    return [
        samples.round_record(i, train_loss=2 / i if i else None, failed=[FAILURE] if i else [],
            evaluation=samples.server_evaluation(3 - i / 10),
            clients=[samples.client_train_record(0, name=EVIL, train_loss=1.25)] if i else [])
        for i in range(number + 1)
    ]  # fmt: skip


def write_progress(results, number, seconds_left=None, age=0.0):
    path = results / "checkpoints/small/progress.json"
    rounds = make_rounds(number) if number is not None else []
    progress = Progress(
        clients=[EVIL, "b"], num_rounds=12, rounds=rounds, seconds_left=seconds_left
    )
    write_artifact(path, progress)
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_before_a_run_the_page_says_so_and_reloads(tmp_path):
    page = render_page(tmp_path / "results")
    assert "No experiment has started yet" in page
    assert 'http-equiv="refresh"' in page


def test_during_a_run_it_shows_rounds_losses_clients_and_time_left(tmp_path):
    write_progress(tmp_path, 3, seconds_left=90.4, age=30)
    log = tmp_path / "logs/federate/small.log"
    log.parent.mkdir(parents=True)
    log.write_text("round 2\nround 3/12 <b>\n\n")
    page = render_page(tmp_path)
    assert "3 of 12 rounds" in page
    assert "about 60 s left" in page
    assert "last news 30 s ago" in page
    assert "held-out loss 2.7000" in page
    assert "train loss 0.6667" in page
    assert page.count("<polyline") == 2
    assert "round 3/12 &lt;b&gt;" in page
    assert EVIL not in page
    assert "&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;&amp;" in page
    [experiment] = read_experiments(tmp_path)
    first, second = experiment.clients
    assert (first.num_rounds, first.num_failures, first.train_loss) == (3, 0, 1.25)
    assert (second.num_rounds, second.num_failures, second.train_loss) == (0, 3, None)


def test_before_the_first_round_and_with_a_diverged_loss(tmp_path):
    write_progress(tmp_path, None)
    assert "0 of 12 rounds" in render_page(tmp_path)
    path = write_progress(tmp_path, 1)
    path.write_text(path.read_text().replace("2.0", "NaN"))
    assert "1 of 12 rounds" in render_page(tmp_path)


def test_after_a_run_the_history_counts(tmp_path):
    write_progress(tmp_path, 3, seconds_left=90.0)
    history = samples.federation_history(
        clients=[EVIL, "b"], ranks=[1, 1], rounds=make_rounds(4), stop_reason="no improvement"
    )
    write_artifact(tmp_path / "experiments/small/history.json", history)
    page = render_page(tmp_path)
    assert "4 of 4 rounds" in page
    assert "stopped: no improvement" in page
    assert " left" not in page.split("</svg>")[0].split("rounds ·")[1].split("</p>")[0]


def test_file_that_is_damaged_is_left_out(tmp_path):
    write_progress(tmp_path, 2).write_text("{")
    assert "No experiment has started yet" in render_page(tmp_path)


def test_durations_have_a_fitting_unit():
    texts = [format_duration(seconds) for seconds in (0.2, 99, 100, 5900, 11100)]
    assert texts == ["0 s", "99 s", "2 min", "98 min", "3 h 5 min"]
