"""What can be seen from outside: logs, metrics, traces and errors, with secrets left out of all."""
