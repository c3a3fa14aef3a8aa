"""The gunicorn worker: gevent, HTTP/1.1 parsing, connections, hijacked connections."""
