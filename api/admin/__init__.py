"""What operators do: search and change jobs, the overview, the erasure of users."""
