"""What runs beside the jobs: sweep thread, cleanup, history recorder."""
