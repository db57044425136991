"""Parts of a page that refresh themselves: a part that looks the same is answered with 204, and nothing moves."""

import hashlib
from typing import Any

from flask import make_response, render_template, request
from werkzeug.wrappers import Response


def version(*looks: Any) -> str:
    """A short name for how a part looks."""
    return hashlib.sha256(repr(looks).encode()).hexdigest()[:16]


def fragment(template: str, looks: str, **context: Any) -> Response:
    """The part, or 204 where the reader already shows this version; a form in it is so never torn from her hands."""
    if request.args.get("v") == looks:
        return make_response("", 204)
    return make_response(render_template(template, version=looks, **context))
