"""Replace or revoke the key of a client of engine ``external``, also while a run goes on."""

from pathlib import Path

from blossomtune.cli import build_parser, run_script


def main() -> None:
    """Change a client's key, and say what to do next."""
    parser = build_parser(__doc__, has_config=False)
    parser.add_argument("action", choices=("replace", "revoke"))
    parser.add_argument("client", help="name of the client")
    parser.add_argument(
        "--keys", type=Path, default=Path("keys"), help="federation.engine.keys; by default, keys"
    )
    args = parser.parse_args()

    from blossomtune.deployment.client_bundle import replace_client_key, revoke_client_key
    from blossomtune.files import expand_home

    change_key = replace_client_key if args.action == "replace" else revoke_client_key
    change_key(expand_home(str(args.keys)), args.client)


if __name__ == "__main__":
    run_script(main)
