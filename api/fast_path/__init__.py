"""The two most frequent requests, served ahead of Flask with the same bytes.

Creating a job takes a third of the time here that it takes through Flask, and a poll of a job that
has not changed a tenth, because Flask's routing, its request and response objects and the schemas
are skipped. Nothing else differs: limits, authentication, ownership, CORS headers, tracing, job
creation and rendering are the functions that the routes call too, and
tests/unit/api/fast_path/ compares the responses byte for byte.

The fast path serves

- ``POST /v1/download/initiate`` and ``/async`` with a small JSON body of ``file_ids``, ``priority``
  and a flat ``metadata``, and
- ``GET /v1/download/status/<id>`` without query and with at most one ETag in ``If-None-Match``.

With plans (PLANS), it leaves the creation of jobs to Flask, where a plan may choose the priority.

It leaves to Flask every other request, and every request that ends in an error (a missing or
expired token, someone else's job, a limit, an unavailable job store): Flask renders the problem.
It is not installed in a process without live updates, whose connection to the job store it shares.
"""
