"""One attempt at one job: runner, heartbeat, control and telemetry."""
