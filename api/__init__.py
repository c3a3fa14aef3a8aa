"""The HTTP API: accepts jobs, tells how they are, hands out links; never does the work itself."""
