"""Join a federation: prepare a client's own rows, and run its SuperNode beside them."""

from blossomtune.cli import run_script
from blossomtune.commands.join import main

if __name__ == "__main__":
    run_script(main)
