# Two images: `app` (the API and the worker: same code, different commands) and `nginx` (nginx with
# the web pages). requirements-runtime.lock pins every Python package by hash.

# The host of the registry or of a mirror. To pin an image by digest, set its whole name.
ARG REGISTRY=docker.io
ARG PYTHON_IMAGE=${REGISTRY}/library/python:3.11-slim-bookworm
ARG NODE_IMAGE=${REGISTRY}/library/node:22-bookworm-slim
ARG NGINX_IMAGE=${REGISTRY}/library/nginx:1.28-bookworm

FROM ${PYTHON_IMAGE} AS packages
# gunicorn-h1c has no wheel for Linux.
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev
RUN python -m venv /opt/longhaul
COPY requirements-runtime.lock /
RUN /opt/longhaul/bin/pip install --no-cache-dir --require-hashes -r /requirements-runtime.lock \
    && /opt/longhaul/bin/pip uninstall --yes pip setuptools \
    && /opt/longhaul/bin/python -m compileall -q /opt/longhaul

FROM ${PYTHON_IMAGE} AS app
ENV PATH=/opt/longhaul/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /srv/longhaul
COPY --from=packages /opt/longhaul /opt/longhaul
COPY common common
COPY api api
COPY worker worker
RUN python -m compileall -q /srv/longhaul
# Numeric, so that Kubernetes can verify that it is not root.
USER 10001:10001
EXPOSE 8080
CMD ["gunicorn", "-c", "api/gunicorn_conf.py", "api.wsgi:app"]

FROM ${NODE_IMAGE} AS page
WORKDIR /web
COPY web .
RUN npm ci --no-audit --no-fund && npm run build

FROM ${NGINX_IMAGE} AS nginx
COPY nginx /etc/longhaul
COPY --from=page /web/dist /srv/web
# Swagger UI, so that its files cost the API nothing.
COPY --from=packages /opt/longhaul/lib/python3.11/site-packages/flask_swagger_ui/dist /srv/web/docs
USER 10001:10001
EXPOSE 8080 8443
# Finish open requests; close streams after worker_shutdown_timeout.
STOPSIGNAL SIGQUIT
ENTRYPOINT ["/etc/longhaul/entrypoint.sh"]
