"""Live updates: one subscriber per process, any number of clients, the newest state to each."""
