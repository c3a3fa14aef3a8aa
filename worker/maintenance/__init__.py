"""Threads that run beside the jobs: sweeper, cleanup, history recorder."""
