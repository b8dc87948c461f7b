"""Describe the differential privacy of the adapter."""

from blossomtune.reporting import formatting
from blossomtune.reporting.load import ExperimentResults

_WEAK_EPSILON = 10  # a larger epsilon promises little


def describe_privacy(e: ExperimentResults) -> list[str]:
    """Return sentences on the guarantee and its limits; none without privacy."""
    spent = e.history.privacy
    if spent is None:
        return []
    block, rounds = e.config["federation"]["privacy"], len(e.history.trained_rounds)
    epsilon, delta = (
        formatting.format_upper_bound(spent.epsilon),
        formatting.format_setting(spent.delta),
    )
    sentences = [
        f"The adapters of {formatting.format_amount(rounds, 'round')} together are "
        f"({epsilon}, {delta})-differentially private for "
        "each client: with all of a client’s data replaced, no outcome would be more than "
        f"exp(epsilon) times as likely, but for a chance of delta."
    ]
    if spent.epsilon > _WEAK_EPSILON:
        sentences.append(
            f"An epsilon above {_WEAK_EPSILON} promises little; below 1 it promises a lot."
        )
    sentences.append(
        "It does not cover the losses, counts, failures and drift on this page, which have no "
        "noise, nor the server, which gets the clients’ answers: whoever is not to know of a "
        "client’s data should get the model, and not this page."
    )
    if e.config["federation"]["fraction_train"] < 1:
        sentences.append(
            "It counts on nobody knowing which clients took part in which round; history.json "
            "and the tables here tell that, too."
        )
    if block["secret"] is None:
        sentences.append(
            "The noise follows from the seed of the configuration, so that the run can be made "
            "again; whoever knows that can take the noise off, and for them there is no "
            "protection. With real clients, set privacy.secret."
        )
    return sentences


def format_privacy_facts(e: ExperimentResults) -> list[tuple[str, str]]:
    """Return name and value of the privacy parameters; nothing without privacy."""
    spent = e.history.privacy
    if spent is None:
        return []
    norms = [r.privacy.clipping_norm for r in e.history.rounds if r.privacy]
    known = [norm for norm in norms if norm is not None]
    norm = "fixed, " if spent.clipping == "fixed" else "adaptive, "
    if known:
        first, last = formatting.format_number(known[0]), formatting.format_number(known[-1])
        norm += f"norm {first}" + (f" in round 1 to {last} in the last" if first != last else "")
    return [
        ("epsilon", formatting.format_upper_bound(spent.epsilon)),
        ("delta", formatting.format_setting(spent.delta)),
        ("clipping", f"{norm.removesuffix(', ')}; by {_format_clipping_side(spent.side)}"),
        (
            "noise",
            f"{formatting.format_setting(spent.noise_multiplier)} times the norm, by the server",
        ),
    ]


def _format_clipping_side(side: str) -> str:
    return "the server" if side == "server" else "each client, before it sends"
