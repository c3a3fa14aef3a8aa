"""Load drivers: each is a program that loads one server and prints its figures as one JSON object.

They know a server by its base URL and its paths only, so that ours and the baseline are driven
alike. They run pinned to another core than the server; every loop is bounded.
"""
