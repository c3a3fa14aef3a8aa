"""The whole system on one machine, from Python wheels: no root and no containers needed."""
