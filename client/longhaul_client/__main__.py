"""``python -m client`` is the ``longhaul`` command."""

from .cli import main

main(prog_name="longhaul")
