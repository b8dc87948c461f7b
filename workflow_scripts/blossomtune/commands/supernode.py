"""Run a SuperNode on a SuperLink of Flower's, with the model in memory between rounds.

It takes the place of `flower-supernode`; its options have the same names there. It trains by the
installed package alone, and runs no code that the SuperLink sends.
"""

import os
from pathlib import Path
from typing import Any

from blossomtune.cli import build_parser
from blossomtune.config.engines import is_loopback
from blossomtune.errors import UserError


def main() -> None:
    """Run the SuperNode until it is stopped."""
    parser = build_parser(__doc__, has_config=False)
    parser.add_argument("--superlink", required=True, metavar="HOST:PORT")
    parser.add_argument(
        "--root-certificates",
        type=Path,
        metavar="FILE",
        help="certificate of the authority that issued the SuperLink's",
    )
    parser.add_argument(
        "--insecure", action="store_true", help="plain text, to a SuperLink of this machine"
    )
    parser.add_argument(
        "--auth-supernode-private-key",
        type=Path,
        metavar="FILE",
        help="private key whose public key is registered",
    )
    parser.add_argument(
        "--node-config",
        required=True,
        metavar="KEY=VALUE",
        help="the client that this node is, as in 'client=\"north\"' or partition-id=0",
    )
    args = parser.parse_args()

    certificate, key = args.root_certificates, args.auth_supernode_private_key
    if args.insecure and not is_loopback(args.superlink):
        raise UserError(
            f"--insecure: {args.superlink} is no loopback address, and plain text would leave this "
            "machine",
            "name the authority's certificate with --root-certificates",
        )
    _check_files(certificate, key, is_insecure=args.insecure)
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    from blossomtune.deployment.reaper import start_reaper
    from blossomtune.deployment.supernode import run_supernode

    config = _parse_node_config(args.node_config)
    name = str(config.get("client", config.get("partition-id")))
    with start_reaper() as scratch:
        run_supernode(args.superlink, name, config, None, Path(scratch), certificate, key)


def _check_files(certificate: Path | None, key: Path | None, *, is_insecure: bool) -> None:
    if (certificate is None) != is_insecure:
        raise UserError(
            "a SuperNode needs either --root-certificates or --insecure",
            "--insecure is for a SuperLink of this machine on a loopback address",
        )
    if is_insecure and key:
        raise UserError(
            "--auth-supernode-private-key needs an encrypted connection",
            "name the authority's certificate with --root-certificates",
        )
    for file in filter(None, (certificate, key)):
        if not file.is_file():
            raise UserError(f"{file} is no file", "paths are relative to where you are")


def _parse_node_config(text: str) -> dict[str, Any]:
    """Return the values of ``KEY=VALUE``, which say which client the node is."""
    from blossomtune.deployment import flower_internal as flower

    try:
        config: dict[str, Any] = flower.parse_config_args([text])
    except Exception as error:  # of a library of Flower's
        problem = getattr(error, "message", None) or str(error)
        raise UserError(f"--node-config: {problem}") from None
    if not config.keys() & {"client", "partition-id"}:
        raise UserError(
            f"--node-config {text!r} does not say which client this node is",
            "as in --node-config 'client=\"north\"', or partition-id=<number>",
        )
    return config
