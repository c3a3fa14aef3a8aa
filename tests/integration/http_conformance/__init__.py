"""Conformance of the HTTP server with RFC 9110 and RFC 9112."""
