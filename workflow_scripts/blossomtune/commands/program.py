"""Run ``blossomtune COMMAND …``, the program that the wheel installs."""

import argparse
import sys
from importlib import import_module

from blossomtune.cli import run_script

COMMANDS = {
    "join": "prepare your own rows, and run a SuperNode beside them",
    "run": "train a federation whose run file the workflow has written",
    "supernode": "run a SuperNode of Flower's that keeps the model in memory",
    "version": "print the versions of this package and of those that it trains with",
}
"""Description of each command; the module of that name has its ``main``."""


def main() -> None:
    """Run the command that the first argument names."""
    run_script(run_command)


def run_command() -> None:
    """Pass the arguments after the command's name to its ``main``."""
    parser = argparse.ArgumentParser(
        description="Federated fine-tuning of language models.",
        epilog="\n".join(f"{name:10} {text}" for name, text in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS)
    name = parser.parse_args(sys.argv[1:2]).command
    sys.argv[:2] = [f"{parser.prog} {name}"]  # as the command's own help shows it
    import_module(f"blossomtune.commands.{name}").main()
