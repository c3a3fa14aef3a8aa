"""Requests and responses as marshmallow schemas: they validate requests and define the OpenAPI
document.

For speed, responses are not serialized through them; a test validates the responses against the
document.
"""
