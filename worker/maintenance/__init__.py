"""Threads that run beside the jobs: sweeper, cleanup, archive remover, history recorder."""
