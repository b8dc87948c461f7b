"""What differential privacy was spent, and what it covers, in sentences."""

from blossomtune.reporting import words
from blossomtune.reporting.inputs import Experiment

_MUCH = 10  # an epsilon above it promises little


def said(e: Experiment) -> list[str]:
    """The guarantee, how strong it is, what it does not cover; nothing without privacy."""
    spent = e.history.privacy
    if spent is None:
        return []
    block, rounds = e.block["federation"]["privacy"], len(e.history.trained)
    sentences = [
        f"The adapters of {words.amount(rounds, 'round')} together are "
        f"({words.upwards(spent.epsilon)}, {words.plain(spent.delta)})-differentially private for "
        "each client: with all of a client’s data replaced, no outcome would be more than "
        f"exp(epsilon) times as likely, but for a chance of delta."
    ]
    if spent.epsilon > _MUCH:
        sentences.append(f"An epsilon above {_MUCH} promises little; below 1 it promises a lot.")
    sentences.append(
        "It does not cover the losses, counts, failures and drift on this page, which have no "
        "noise, nor the server, which gets the clients’ answers: whoever is not to know of a "
        "client’s data should get the model, and not this page."
    )
    if e.block["federation"]["fraction_train"] < 1:
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


def facts(e: Experiment) -> list[tuple[str, str]]:
    """The numbers, by name."""
    spent = e.history.privacy
    if spent is None:
        return []
    norms = [r.privacy.clipping_norm for r in e.history.rounds if r.privacy]
    known = [norm for norm in norms if norm is not None]
    norm = "fixed, " if spent.clipping == "fixed" else "adaptive, "
    if known:
        first, last = words.number(known[0]), words.number(known[-1])
        norm += f"norm {first}" + (f" in round 1 to {last} in the last" if first != last else "")
    return [
        ("epsilon", words.upwards(spent.epsilon)),
        ("delta", words.plain(spent.delta)),
        ("clipping", f"{norm.removesuffix(', ')}; by {_who(spent.side)}"),
        ("noise", f"{words.plain(spent.noise_multiplier)} times the norm, by the server"),
    ]


def _who(side: str) -> str:
    return "the server" if side == "server" else "each client, before it sends"
