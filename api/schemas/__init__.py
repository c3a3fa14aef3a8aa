"""What goes in and out as marshmallow schemas: they check requests and make the OpenAPI document.

Answers are not dumped through them, for speed; a test holds the answers against the document.
"""
