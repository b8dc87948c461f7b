"""Metrics by client."""

from sample_results import (
    build_configuration,
    get_visible_text,
    render_report,
    update_manifest,
    write_results,
)

METRICS = "experiments/quickstart/metrics.json"


BOTH = {"centralised": True, "local": True}


def test_clients_are_sorted_from_worst_to_best(results):
    html = render_report(write_results(results, build_configuration(baselines=BOTH)), results)
    text = get_visible_text(html)
    assert "The federated model serves nytEditorials worst (accuracy 60 %) and tweets best" in text
    assert (
        "base 6.8 points, local only 9.5 points, federated 6.8 points and centralised 5.4" in text
    )
    assert "All clients have a higher accuracy with the federated model than with the one" in text
    assert "<title>federated, nytEditorials: 60\u202f%</title>" in html
    rows = text[text.index("Every client in numbers") :]
    order = [rows.index(n) for n in ("nytEditorials28", "movieReviews229", "tweets61")]
    assert order == sorted(order)
    assert "worst client30.0 % nytEditorials" in rows


def test_section_is_absent_without_metrics_by_client(results):
    c = write_results(results, build_configuration())

    def unknown(metrics):
        for name in ("base", "federated"):
            metrics[name] |= {"clients": None, "fairness": None}

    update_manifest(results, METRICS, unknown)
    assert "Client by client</h2>" not in render_report(c, results)
