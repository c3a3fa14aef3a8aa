"""The HTTP API: creates jobs, reports their status, and returns links to finished archives."""
