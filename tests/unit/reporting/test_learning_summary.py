"""Sentences on losses, rounds and batch sizes."""

import re

from sample_results import (
    build_configuration,
    get_visible_text,
    render_report,
    update_manifest,
    write_results,
)

HISTORY = "experiments/*/history.json"


def read_figure(results, name="drift"):
    return (results / f"report/figures/quickstart/{name}.svg").read_text(encoding="utf-8")


def get_cell_text(html):
    """The text of a page's tables, a space between cells."""
    return get_visible_text(html.replace("</td>", " </td>"))


def test_early_stop_and_round_of_the_result_are_stated(results):
    c = write_results(
        results,
        build_configuration(
            federation={"rounds": 8, "evaluate_every": 3, "early_stopping": {}, "result": "best"}
        ),
    )

    def stopped(history):
        history |= {"rounds": history["rounds"][:7], "best_round": 3, "result_round": 3}
        history["stop_reason"] = "early stopping: the loss has not improved"

    update_manifest(results, HISTORY, stopped)
    text = get_visible_text(render_report(c, results))
    assert "The server’s own check on 64 held-out examples, every 3 rounds, went from" in text
    assert "stopped early, after round 6 of 8: the loss has not improved." in text
    assert "The loss was smallest after round 3; it is the result." in text
    assert "resultthe adapter of round 3" in text
    svg = read_figure(results, "loss")
    assert ">best, result<" in svg
    held = [int(n) for n in re.findall(r"<title>held-out, round (\d+):", svg)]
    assert held == [3, 6]


def test_best_round_is_marked_beside_the_result(results):
    c = write_results(results, build_configuration(federation={"rounds": 4}))
    update_manifest(results, HISTORY, lambda history: history.update(best_round=2))
    assert "smallest after round 2; the last one is the result." in get_visible_text(
        render_report(c, results)
    )
    svg = read_figure(results, "loss")
    assert ">best<" in svg
    assert ">result<" in svg


def test_evaluation_by_clients_is_shown(results):
    raw = build_configuration(federation={"fraction_evaluate": 1.0})
    raw["partitions"]["by-domain"]["validation_size"] = 32
    html = render_report(write_results(results, raw), results)
    assert (
        "On rows that clients hold out themselves it went from 1.00 to 0.300."
        in get_visible_text(html)
    )
    assert "<title>own held-out, round 3: 0.300</title>" in html
    # messages of the evaluation count: 1 MB down in each of three rounds
    assert re.search(r"amazonReviews32\.37\s*29\.41", get_cell_text(html))


def test_ranks_and_batch_sizes_are_stated_by_client(results):
    raw = build_configuration(
        lora={"r": 16, "alpha": 16, "rslora": True, "ranks": [4, 8, 8, 16]},
        federation={"aggregation": "flexlora"},
    )
    c = write_results(results, raw)

    def smaller(history):
        history["rounds"][2]["clients"][3]["batch_size"] = 1

    update_manifest(results, HISTORY, smaller)
    text = get_visible_text(render_report(c, results))
    assert "Memory was too small for 4 examples at a time on tweets (1 at a time)" in text
    assert "rank-stabilised LoRA of rank 16 on the server and 4 to 16 on clients" in text
    assert "clientrankMB downMB up amazonReviews4" in text
    assert "makes of that the best adapter of rank 16." in text
