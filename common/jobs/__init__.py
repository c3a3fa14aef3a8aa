"""What a job is and how it may change: pure code without I/O, clock or environment."""
