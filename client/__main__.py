"""``python -m client`` is the ``longhaul`` command."""

from client.cli import main

main(prog_name="longhaul")
