"""TODO docstring."""


def format_round(record: dict, num_rounds: int, seconds_left: float) -> str:
    """A round in one line for people."""
    parts = [f"round {record['round']}/{num_rounds}"]
    if record["clients"]:
        parts.append(f"train loss {record['train_loss']:.4f}")
    if record["evaluation"]:
        parts.append(f"held-out loss {record['evaluation']['loss']:.4f}")
    scored = record["client_evaluation"] or {"clients": [], "failed": []}
    if scored["clients"]:
        parts.append(f"clients' loss {scored['loss']:.4f}")
    if record["clients"]:
        asked = len(record["clients"]) + len(record["failed"])
        moved = (record["bytes_down"] + record["bytes_up"]) / 1e6
        parts += [f"{len(record['clients'])} of {asked} clients", f"{record['seconds']:.0f} s"]
        parts += [f"{moved:.1f} MB", f"about {seconds_left:.0f} s left"]
    if record["privacy"]:
        parts.append(f"epsilon {record['privacy']['epsilon']:.2f}")
    failed = [
        f"\n  {what}: client {f['client']} ({f['name']}): {f['reason']}"
        for what, those in (("failed", record["failed"]), ("gave no loss", scored["failed"]))
        for f in those
    ]
    return " · ".join(parts) + "".join(failed)
