"""Lets ``python -m longhaul_client`` run the ``longhaul`` command."""

from .cli import main

main(prog_name="longhaul")
