"""The report on rounds: drift, what decided the result, privacy, ranks, batches, bytes."""

import re
import xml.etree.ElementTree as ET

import pytest
from sample_results import (
    build_configuration,
    get_visible_text,
    render_report,
    update_manifest,
    write_results,
)

HISTORY = "experiments/*/history.json"


@pytest.fixture
def results(tmp_path):
    return tmp_path / "results"


def drifts(average, best):
    """Sets every layer's drift of all rounds."""

    def update(told):
        for record in told["rounds"][1:]:
            for layer in record["drift"].values():
                layer |= {"average": average, "best": best}

    return update


def figure(results, name="drift"):
    return (results / f"report/figures/quickstart/{name}.svg").read_text(encoding="utf-8")


def test_drift_is_drawn_by_round_and_by_layer(results):
    c = write_results(results, build_configuration())

    def one_layer(told):
        told["rounds"][3]["drift"]["layers.7.mlp.up_proj"]["average"] = 0.9876

    update_manifest(results, HISTORY, one_layer)
    html = render_report(c, results)
    svg = figure(results)
    ET.fromstring(svg)
    assert "<title>up_proj, layer 7: 99\u202f%</title>" in svg
    assert svg.count("<title>down_proj, layer ") == 30
    assert "plain averaging, round 2: " in svg
    assert "best of rank 8, round 3: " in svg
    assert "What averaging loses" in html


@pytest.mark.parametrize(
    ("average", "best", "federation", "said"),
    [
        (0.02, 0.01, {}, "misses 2.0 % of the clients’ mean update"),
        (0.02, 0.01, {}, "an exact method (flexlora, flora, fedex) would hardly pay."),
        (0.4, 0.05, {}, "may pay: flexlora would miss 5.0 %, flora and fedex nothing."),
        (0.4, 0.3, {}, "Most of that is the rank: flexlora, which keeps it, would gain little."),
        (0.4, 0.05, {"strategy": "fedadam"}, "with fedadam, ffa and rolora are the exact ones."),
        (0.0, 0.0, {"aggregation": "ffa"}, "plain averaging of the factors misses nothing"),
        (0.0, 0.0, {"aggregation": "ffa"}, "so that plain averaging is exact."),
        (0.4, 0.05, {"aggregation": "fedex"}, "This run used fedex, which misses nothing."),
        (None, 0.05, {"aggregation": "flexlora"}, "This run used flexlora, which misses 5.0 %."),
        (None, 0.01, {"aggregation": "hetlora"}, "flexlora would keep nearly all of it."),
    ],
)
def test_drift_says_whether_an_exact_method_would_pay(results, average, best, federation, said):
    lora = {"r": 8, "ranks": [4, 8, 8, 8]} if average is None else {}
    c = write_results(results, build_configuration(lora=lora, federation=federation))
    update_manifest(results, HISTORY, drifts(average, best))
    assert said in get_visible_text(render_report(c, results))


@pytest.mark.parametrize(("key", "said"), [("trained", "it trained on"), ("held", "that it holds")])
def test_the_page_says_what_clients_count_by(results, key, said):
    c = write_results(results, build_configuration(federation={"client_weights": key}))
    assert f"each client counting by the examples {said}." in get_visible_text(
        render_report(c, results)
    )


def test_without_drift_the_figure_says_so(results):
    c = write_results(results, build_configuration())

    def none(told):
        for record in told["rounds"]:
            record["drift"] = None

    update_manifest(results, HISTORY, none)
    assert "What averaging loses" not in render_report(c, results)
    assert "Drift was not measured in this run." in figure(results)


def test_the_round_of_the_result_and_why_it_stopped(results):
    c = write_results(
        results,
        build_configuration(
            federation={"rounds": 8, "evaluate_every": 3, "early_stopping": {}, "result": "best"}
        ),
    )

    def stopped(told):
        told |= {"rounds": told["rounds"][:7], "best_round": 3, "result_round": 3}
        told["stop_reason"] = "early stopping: the loss has not improved"

    update_manifest(results, HISTORY, stopped)
    text = get_visible_text(render_report(c, results))
    assert "The server’s own check on 64 held-out examples, every 3 rounds, went from" in text
    assert "stopped early, after round 6 of 8: the loss has not improved." in text
    assert "The loss was smallest after round 3; it is the result." in text
    assert "resultthe adapter of round 3" in text
    svg = figure(results, "loss")
    assert ">best, result<" in svg
    held = [int(n) for n in re.findall(r"<title>held-out, round (\d+):", svg)]
    assert held == [3, 6]


def test_a_best_round_that_is_not_the_result_is_marked_too(results):
    c = write_results(results, build_configuration(federation={"rounds": 4}))
    update_manifest(results, HISTORY, lambda told: told.update(best_round=2))
    assert "smallest after round 2; the last one is the result." in get_visible_text(
        render_report(c, results)
    )
    svg = figure(results, "loss")
    assert ">best<" in svg
    assert ">result<" in svg


def test_clients_own_evaluation_is_shown(results):
    raw = build_configuration(federation={"fraction_evaluate": 1.0})
    raw["partitions"]["by-domain"]["validation_size"] = 32
    html = render_report(write_results(results, raw), results)
    assert (
        "On rows that clients hold out themselves it went from 1.00 to 0.300."
        in get_visible_text(html)
    )
    assert "<title>own held-out, round 3: 0.300</title>" in html
    # messages of the evaluation count: 1 MB down in each of three rounds
    assert re.search(r"amazonReviews32\.37\s*29\.41", seen_cells(html))


def seen_cells(html):
    """The text of a page's tables, a space between cells."""
    return get_visible_text(html.replace("</td>", " </td>"))


def test_ranks_and_batches_that_differ_are_told_by_client(results):
    raw = build_configuration(
        lora={"r": 16, "alpha": 16, "rslora": True, "ranks": [4, 8, 8, 16]},
        federation={"aggregation": "flexlora"},
    )
    c = write_results(results, raw)

    def smaller(told):
        told["rounds"][2]["clients"][3]["batch_size"] = 1

    update_manifest(results, HISTORY, smaller)
    text = get_visible_text(render_report(c, results))
    assert "Memory was too small for 4 examples at a time on tweets (1 at a time)" in text
    assert "rank-stabilised LoRA of rank 16 on the server and 4 to 16 on clients" in text
    assert "clientrankMB downMB up amazonReviews4" in text
    assert "makes of that the best adapter of rank 16." in text


def test_an_adapter_that_grew_says_so(results):
    c = write_results(results, build_configuration(federation={"aggregation": "flora"}))
    update_manifest(
        results,
        "experiments/*/adapter/adapter_config.json",
        lambda m: m.update(r=40, rank_pattern={"model.layers.0.self_attn.q_proj": 96}),
    )
    assert "what came out has rank 96" in get_visible_text(render_report(c, results))


PRIVACY = {"clipping": "adaptive", "delta": 1e-3}


def test_privacy_says_what_was_spent_and_what_is_not_covered(results):
    federation = {"aggregation": "ffa", "fraction_train": 0.5, "privacy": PRIVACY}
    text = get_visible_text(
        render_report(write_results(results, build_configuration(federation=federation)), results)
    )
    assert "The adapters of three rounds together are (5.41, 1e-3)-differentially private" in text
    assert "It does not cover the losses, counts, failures and drift on this page" in text
    assert "It counts on nobody knowing which clients took part" in text
    assert "whoever knows that can take the noise off" in text
    assert "promises little" not in text
    assert "adaptive, norm 0.110 in round 1 to 0.133 in the last; by the server" in text
    assert "clipping normepsilon so farMB down" in text


def test_privacy_with_a_secret_and_all_clients_has_fewer_doubts(results):
    privacy = PRIVACY | {"secret": "noise.key", "noise_multiplier": 0.5}
    federation = {"aggregation": "ffa", "rounds": 9, "privacy": privacy}
    text = get_visible_text(
        render_report(write_results(results, build_configuration(federation=federation)), results)
    )
    assert "nobody knowing" not in text
    assert "take the noise off" not in text
    assert "An epsilon above 10 promises little" in text


def test_without_privacy_there_is_no_word_of_it(results):
    text = get_visible_text(render_report(write_results(results, build_configuration()), results))
    assert "epsilon" not in text.lower()
    assert "differentially" not in text


def test_gpus_are_told_where_clients_trained_on_some(results):
    c = write_results(results, build_configuration())
    assert "GPU" not in get_visible_text(render_report(c, results))

    def on_gpus(told):
        for record in told["rounds"][1:]:
            one = {"name": "NVIDIA A100", "memory_total_mb": 42_500}
            record["gpus"] = [
                one | {"utilization": 60 + record["round"], "memory_mb": 30_100},
                one | {"utilization": 40 + record["round"], "memory_mb": 12_000},
            ]
            for client in record["clients"]:
                client["gpu_memory_mb"] = 9_000 + client["client"]

    update_manifest(results, HISTORY, on_gpus)
    text = get_visible_text(render_report(c, results))
    assert (
        "Two GPUs (NVIDIA A100): busy for 52 % of the rounds’ time, the fullest with 30.1 GB of "
        "42.5 GB taken. A client held up to 9.0 GB of a GPU."
    ) in text
    assert "GPUs busy" in text
    html = render_report(c, results)
    assert "<td>53\u202f%</td><td>30,100</td>" in html
    assert "<td>–</td><td>–</td>" in html  # round 0
