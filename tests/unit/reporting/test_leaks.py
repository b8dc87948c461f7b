"""Tests of the report on rows that occur twice."""

from artifact_samples import leaks
from sample_results import get_visible_text, render_report, update_manifest, write_results

from blossomtune.reporting.formatting import NARROW_SPACE

TOKENIZED = "preprocessed/*/*/*/manifest.json"
METRICS = "experiments/quickstart/metrics.json"


def plain(text):
    return text.replace(NARROW_SPACE, " ")


def build_counts(client, held_out=(0, 0), other_clients=(0, 0), own=(0, 0)):
    counts = {"held_out": held_out, "other_clients": other_clients, "own": own}
    pairs = {k: dict(zip(("exact", "near"), v, strict=True)) for k, v in counts.items()}
    return {"client": client} | pairs


def render(results, raw, clients, leaked=0, update_metrics=lambda metrics: None):
    """Return the report's text and the terminal's, with these duplicates."""
    configuration = write_results(results, raw)
    found = leaks(test_rows=range(leaked), clients=clients).model_dump()
    update_manifest(results, TOKENIZED, lambda manifest: manifest.update(leaks=found))

    def update(metrics):
        metrics["leaked"] = leaked
        update_metrics(metrics)

    update_manifest(results, METRICS, update)
    html = render_report(configuration, results)
    headline = html[html.index("<h1>") : html.index("</h1>")]
    text = (results / "report/summary.txt").read_text(encoding="utf-8")
    return plain(get_visible_text(html)), plain(get_visible_text(headline)), text


def without_leaks(metrics):
    names = ("base", "federated")
    keys = ("rows", "loss", "perplexity", "accuracy")
    models = {n: {k: metrics[n][k] for k in keys} | {"rows": 391} for n in names}
    models["federated"]["accuracy"] = {"value": 0.655, "low": 0.63, "high": 0.68}
    difference = {"base": metrics["difference"]["base"]}
    metrics["without_leaks"] = {"models": models, "difference": difference}


def test_headline_has_the_scores_without_leaked_rows(results, raw):
    clients = [build_counts(0, held_out=(7, 3)), build_counts(1)]
    text, headline, line = render(results, raw, clients, 9, without_leaks)
    assert (
        "accuracy on 400 held-out examples rose from 42 % to 72 %; nine of them are in the "
        "training rows, too, exactly or nearly, and without them accuracy rose from 42 % to 66 %."
    ) in headline
    assert "no client had trained on" not in text
    assert "9 of these rows are in the training rows, too; accuracy 42.0% before and 65.5%" in line
    assert "10 equal a held-out row (7 exactly and 3 nearly)." in text
    assert "amazonReviews7 + 30 + 00 + 0" in text.replace(" movieReviews", "")


def test_headline_says_if_all_rows_leaked(results, raw):
    clients = [build_counts(0, held_out=(400, 0))]
    _, headline, line = render(results, raw, clients, 400)
    assert headline.endswith("; all of them are in the training rows, too, exactly or nearly.")
    assert line.endswith("400 of these rows are in the training rows, too\n")


def test_headline_without_choices_has_the_losses_without_leaked_rows(results, raw):
    def update(metrics):
        without_leaks(metrics)
        for part in (metrics, metrics["without_leaks"]["models"]):
            for name in ("base", "federated"):
                part[name]["accuracy"] = None
        metrics["difference"]["base"]["accuracy"] = None

    _, headline, _ = render(results, raw, [build_counts(0, held_out=(0, 1))], 1, update)
    assert "one of them is in the training rows, too, exactly or nearly, and without" in headline
    assert "without them the loss fell from 1.91 to 0.410" in headline


def test_duplicates_among_training_rows_are_counted(results, raw):
    clients = [
        build_counts(0, other_clients=(2, 0)),
        build_counts(1, other_clients=(1, 4), own=(1_000, 5)),
    ]
    text, headline, _ = render(results, raw, clients)
    assert (
        "Of the training rows, 7 equal another client’s (3 exactly and 4 nearly) and 1,005 equal "
        "an earlier row of the same client (1,000 exactly and 5 nearly)."
    ) in text
    assert "held-out examples that no client had trained on" in text
    assert "training rows" not in headline


def test_report_says_that_no_row_occurs_twice(results, raw):
    text, _, _ = render(results, raw, [build_counts(0), build_counts(1)])
    assert "Of the training rows, none occurs a second time." in text
    assert "Rows that occur twice" not in text


def test_rows_of_external_clients_are_not_compared(results, raw):
    configuration = write_results(results, raw)

    def update(manifest):
        for client in manifest["clients"]:
            client |= {"rows": None, "validation": None, "test": None, "labels": None}

    update_manifest(results, "partitions/*/manifest.json", update)
    text = get_visible_text(render_report(configuration, results))
    assert "Rows that stay with clients elsewhere are not compared with others." in text
    assert "no client had trained on" not in text
