"""The web page and the API documentation. Nothing is loaded from another host."""

from __future__ import annotations

import mimetypes
import os
from importlib.resources import files
from pathlib import Path
from typing import Final

import orjson
from flask import Blueprint as PlainBlueprint
from flask import Flask, Response, current_app, render_template, request, send_from_directory
from flask_smorest import Api, Blueprint
from werkzeug.security import safe_join

from api import problems
from api.openapi import ResponseSpec, complete, operation
from api.request_hooks import PAGE_POLICY
from api.responses import json_response
from api.schemas.responses import AboutSchema
from common.version import VERSION

WEB: Final = Path(__file__).parents[2] / "web" / "dist"
#: Encodings of the copies that the build of the page makes, and their suffixes, best first.
_COMPRESSED: Final = (("br", ".br"), ("gzip", ".gz"))
_PAGES: Final = Path(__file__).parents[1] / "pages"
_SWAGGER_UI: Final = Path(str(files("flask_swagger_ui"))) / "dist"
#: Seconds that a browser may cache a file of Swagger UI.
_ASSET_MAX_AGE: Final = 86_400

blueprint = Blueprint("pages", __name__, description="About this API")
documents = PlainBlueprint("documents", __name__, template_folder="../pages")


@blueprint.route("/")
@blueprint.doc(
    **operation(
        ResponseSpec(status=200, description="For programs", schema=AboutSchema),
        ResponseSpec(status=200, description="For browsers", media="text/html"),
    )
)
def index() -> Response:
    """Return the web page to a browser, and the URL of the documentation to other clients."""
    offered = ["application/json", "text/html"]
    if request.accept_mimetypes.best_match(offered, offered[0]) == "text/html":
        return _web_page()
    about = {"message": "Longhaul: long-running downloads", "version": VERSION, "docs": "/docs"}
    return json_response(about, headers={"Vary": "Accept"})


@documents.before_request
def _ignore_range() -> None:
    """Serve files as a whole: a server may ignore Range (RFC 9110, 14.2).

    Werkzeug responds with 416 to units that it does not know, and with 206 to HEAD.
    """
    request.environ.pop("HTTP_RANGE", None)


@documents.get("/operator")
def operator_page() -> Response:
    """Return the web page, which shows the operator's view on this path."""
    return _web_page()


@documents.get("/assets/<path:name>")
def web_asset(name: str) -> Response:
    """Return a file of the web page. Its name contains a hash of its content."""
    response = _compressed(name) or send_from_directory(WEB / "assets", name)
    response.headers["Vary"] = "Accept-Encoding"
    response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
    return response


@documents.get("/openapi.json")
def openapi() -> Response:
    """Return the OpenAPI document."""
    document: bytes = current_app.extensions["openapi"]
    return Response(document, mimetype="application/json")


@documents.get("/docs")
def swagger_ui() -> Response:
    """Return the API reference (Swagger UI)."""
    return _page(_PAGES / "docs.html")


@documents.get("/docs/problems")
def problem_codes() -> Response:
    """Return the page that explains the error codes."""
    return _html(render_template("problems.html", problems=problems.catalog()))


@documents.get("/docs/<path:name>")
def asset(name: str) -> Response:
    """Return a file of the API reference."""
    folder = _PAGES if name == "start.js" else _SWAGGER_UI
    return send_from_directory(folder, name, max_age=_ASSET_MAX_AGE)


def _compressed(name: str) -> Response | None:
    """Return the best compressed copy that the client accepts, or None."""
    for encoding, suffix in _COMPRESSED:
        if not request.accept_encodings.quality(encoding):
            continue
        copy = safe_join(str(WEB / "assets"), name + suffix)
        # Not pathlib, which raises an error for a name that is too long.
        if copy is None or not os.path.isfile(copy):  # noqa: PTH113
            continue
        kind, _ = mimetypes.guess_type(name)
        response = send_from_directory(WEB / "assets", name + suffix, mimetype=kind)
        response.headers["Content-Encoding"] = encoding
        return response
    return None


def _web_page() -> Response:
    built = WEB / "index.html"
    return _page(built if built.is_file() else _PAGES / "index.html")


def _page(file: Path) -> Response:
    return _html(file.read_text())


def _html(text: str) -> Response:
    headers = {"Content-Security-Policy": PAGE_POLICY, "Vary": "Accept"}
    return Response(text, 200, headers, mimetype="text/html")


def publish(app: Flask, document: Api) -> None:
    """Serve the OpenAPI document in its current state; call it after the last blueprint."""
    app.extensions["openapi"] = orjson.dumps(complete(document.spec))
    app.register_blueprint(documents)
