"""Sentences on differential privacy."""

from sample_results import (
    build_configuration,
    get_visible_text,
    render_report,
    write_results,
)

PRIVACY = {"clipping": "adaptive", "delta": 1e-3}


def test_guarantee_and_its_limits_are_stated(results):
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


def test_secret_and_full_participation_remove_caveats(results):
    privacy = PRIVACY | {"secret": "noise.key", "noise_multiplier": 0.5}
    federation = {"aggregation": "ffa", "rounds": 9, "privacy": privacy}
    text = get_visible_text(
        render_report(write_results(results, build_configuration(federation=federation)), results)
    )
    assert "nobody knowing" not in text
    assert "take the noise off" not in text
    assert "An epsilon above 10 promises little" in text


def test_privacy_is_not_mentioned_without_it(results):
    text = get_visible_text(render_report(write_results(results, build_configuration()), results))
    assert "epsilon" not in text.lower()
    assert "differentially" not in text
