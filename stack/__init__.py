"""The whole system on one machine, from wheels: no root, no container engine."""
