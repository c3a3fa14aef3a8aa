"""Composes an archive inside the object storage from copied and written parts."""
