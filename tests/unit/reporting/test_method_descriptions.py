"""Sentences on strategy, aggregation and adapter."""

import pytest
from sample_results import (
    build_configuration,
    get_visible_text,
    render_report,
    update_manifest,
    write_results,
)


@pytest.mark.parametrize(
    ("key", "expected"), [("trained", "it trained on"), ("held", "that it holds")]
)
def test_weights_of_clients_are_described(results, key, expected):
    c = write_results(results, build_configuration(federation={"client_weights": key}))
    assert f"each client counting by the examples {expected}." in get_visible_text(
        render_report(c, results)
    )


def test_rank_of_a_grown_adapter_is_stated(results):
    c = write_results(results, build_configuration(federation={"aggregation": "flora"}))
    update_manifest(
        results,
        "experiments/*/adapter/adapter_config.json",
        lambda m: m.update(r=40, rank_pattern={"model.layers.0.self_attn.q_proj": 96}),
    )
    assert "what came out has rank 96" in get_visible_text(render_report(c, results))
