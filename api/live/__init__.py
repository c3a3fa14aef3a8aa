"""Live updates: one subscription per job and process, any number of streams and long polls."""
