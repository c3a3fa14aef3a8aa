"""The two hottest requests, answered ahead of Flask with the same bytes."""
