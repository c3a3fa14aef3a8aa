"""The web server: a gunicorn worker on gevent that parses HTTP/1.1 and can hijack connections."""
