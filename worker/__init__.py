"""The process that does the downloads."""
