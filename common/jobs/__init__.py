"""What a job is and how it may change: pure, without I/O, clock or environment."""
