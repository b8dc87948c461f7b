"""Comparison with the baselines."""

import re

from sample_results import (
    build_configuration,
    build_interval,
    get_visible_text,
    render_report,
    update_manifest,
    write_results,
)

METRICS = "experiments/quickstart/metrics.json"


BOTH = {"centralised": True, "local": True}


def test_header_compares_with_both_baselines(results):
    html = render_report(write_results(results, build_configuration(baselines=BOTH)), results)
    header = get_visible_text(re.search(r"(?s)<header>(.*?)</header>", html).group(1))
    assert (
        "Against one model trained on all rows pooled, there is no difference that these 400 "
        "examples can show (95 % interval −3.3 to +1.1). Against clients that train alone, it is "
        "8.0 points ahead (95 % interval +5.0 to +11.0)." in header
    )
    text = get_visible_text(html)
    assert "the numbers are means over their four models" in text
    assert "took as many optimizer steps as the federation." in text
    columns = re.findall(r'<th scope="col">(base|local only|federated|centralised)</th>', html)
    assert columns[:4] == ["base", "local only", "federated", "centralised"]
    assert "local only, tweets: 71 % (62 % to 80 %)" in text
    assert "centralised, all: 73 %" in text


def test_clear_difference_from_pooled_training_is_stated(results):
    c = write_results(results, build_configuration(baselines={"centralised": True}))

    def behind(metrics):
        metrics["difference"]["centralised"]["accuracy"] = build_interval(-0.05, 0.02)

    update_manifest(results, METRICS, behind)
    text = get_visible_text(render_report(c, results))
    assert "it is 5.0 points behind (95 % interval −7.0 to −3.0)." in text
    assert "train alone" not in text


def test_losses_are_compared_without_choices(results):
    c = write_results(results, build_configuration(baselines=BOTH))

    def no_choices(metrics):
        for each in metrics.pop("difference").values():
            metrics.setdefault("kept", []).append(each | {"accuracy": None})
        names = [name for name in metrics if isinstance(metrics[name], dict)]
        others = [name for name in names if name != "federated"]
        metrics["difference"] = dict(zip(others, metrics.pop("kept"), strict=True))
        for name in names:
            m = metrics[name]
            m |= {"accuracy": None, "macro_f1": None, "answer_metrics": None, "confusion": None}
            for part in [*(m["by"] or {}).values(), *m.get("models", {}).values()]:
                part["accuracy"] = None
            for part in m["clients"].values():
                part["accuracy"] = None
            m["fairness"] |= {"measure": "loss"}

    update_manifest(results, METRICS, no_choices)
    text = get_visible_text(render_report(c, results)).split("The whole configuration")[0]
    assert "its loss is 0.160 nats a token lower (95 % interval −0.210 to −0.110)." in text
    assert "ccuracy" not in text


def test_early_stop_is_mentioned_beside_the_steps_of_baselines(results):
    c = write_results(results, build_configuration(baselines={"centralised": True}))
    update_manifest(results, "experiments/*/history.json", lambda h: h.update(stop_reason="budget"))
    text = get_visible_text(render_report(c, results))
    assert "as the federation would have in all its rounds; it stopped before the last." in text
