"""Train an adapter by rounds of training on the clients and aggregation on the server."""

from blossomtune.cli import run_script
from blossomtune.commands.federate import main

if __name__ == "__main__":
    run_script(main)
