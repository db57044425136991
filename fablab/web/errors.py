"""What went wrong, as a page or as JSON: a sentence in the reader's language, and what to do next."""

import logging
from typing import Any
from urllib.parse import urlsplit

from flask import Flask, Response, jsonify, make_response, render_template, request
from flask_wtf.csrf import CSRFError
from sqlalchemy.exc import OperationalError
from werkzeug.exceptions import HTTPException

from fablab.sentences import Refusal
from fablab.web.i18n import say
from fablab.web.permissions import is_api

log = logging.getLogger(__name__)

STATUS = {
    "not_signed_in": 401,
    "bad_token": 401,
    "not_allowed": 403,
    "not_authorised": 403,
    "scope_too_small": 403,
    "page_not_found": 404,
    "upload_too_large": 413,
    "file_too_large": 413,
    "sign_in_later": 429,
    "form_expired": 400,
    "file_missing": 400,
}
BY_STATUS = {
    400: "bad_request",
    401: "not_signed_in",
    403: "not_allowed",
    404: "page_not_found",
    405: "method_not_allowed",
    413: "upload_too_large",
}


def status_of(code: str) -> int:
    """The HTTP status of a refusal: 404 for what is unknown, 400 for a field, else 409."""
    if code in STATUS:
        return STATUS[code]
    if code.startswith("unknown_"):
        return 404
    if code.startswith("field_"):
        return 400
    return 409


def set_up(app: Flask) -> None:
    """Register the answers for refusals and for whatever else may go wrong."""
    app.register_error_handler(Refusal, refused)
    app.register_error_handler(CSRFError, lambda _error: answer("form_expired", 400))
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(OperationalError, _database)
    app.register_error_handler(Exception, _unexpected)


def refused(refusal: Refusal) -> Response:
    """The answer to a refusal."""
    return answer(refusal.code, status_of(refusal.code), refusal.data)


def answer(code: str, status: int, data: dict[str, Any] | None = None) -> Response:
    """One answer: `{"code", "text", "data"}` for programs, a page for people."""
    data = data or {}
    text = say(code, data)
    if is_api(request.path):
        return make_response(jsonify(code=code, text=text, data=_plain(data)), status)
    page = render_template("error.html", code=code, text=text, data=data, status=status, back=_back())
    return make_response(page, status)


def _http(error: HTTPException) -> Response:
    status = error.code or 500
    if 300 <= status < 400:
        return make_response(error.get_response())
    data = {"max_mb": _max_mb()} if status == 413 else {}
    return answer(BY_STATUS.get(status, "server_error" if status >= 500 else "bad_request"), status, data)


def _database(error: OperationalError) -> Response:
    log.error("the database did not answer: %s", error.orig)
    return answer("database_busy", 503)


def _unexpected(_error: Exception) -> Response:
    log.exception("unexpected error on %s %s", request.method, request.path)
    return answer("server_error", 500)


def _max_mb() -> int:
    from fablab.web.context import parts

    return parts().config.files.max_upload_mb


def _back() -> str:
    """Where "back" leads: the page of ours that the reader came from, else the first one."""
    came_from = urlsplit(request.referrer or "")
    if came_from.netloc == request.host and came_from.path != request.path:
        return came_from.path
    if request.method == "POST" and came_from.netloc == request.host:
        return came_from.path
    return "/"


def _plain(value: Any) -> Any:
    """A value that JSON can carry."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
