"""Threads that run beside the jobs: sweeper, cleanup, archive remover, bucket size,
history recorder."""
