"""Benchmarks of the API, of jobs and of the archive engine, each beside a baseline."""
