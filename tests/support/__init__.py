"""Helpers shared by the tests: fakes, proxies, servers and kits."""
