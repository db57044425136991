"""The description of the API (OpenAPI 3.1), written by hand beside the routes; a test holds the two equal."""

from typing import Any

BY_ID = [{"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}]
_ACTS: dict[str, tuple[str, dict[str, Any]]] = {
    "/jobs/{id}/submit": ("Say yes to the price; a draft goes into the queue.", {}),
    "/jobs/{id}/hold": ("Put a waiting job aside.", {}),
    "/jobs/{id}/release": ("Back into the queue.", {}),
    "/jobs/{id}/cancel": ("End the job; a live attempt is stopped first.", {}),
    "/jobs/{id}/approve": ("Staff: agree to a job that waits for approval.", {}),
    "/jobs/{id}/reject": ("Staff: refuse a job, with a reason.", {"reason": {"type": "string"}}),
    "/runs/{id}/go": ("The plate is free, the material is in: start.", {"token": {"type": "string"}}),
    "/runs/{id}/pause": ("Ask the machine to pause.", {}),
    "/runs/{id}/resume": ("Ask the machine to go on.", {}),
    "/runs/{id}/cancel": ("Stop this attempt.", {}),
    "/runs/{id}/judge": (
        "Say what became of the part; also clears the plate.",
        {
            "verdict": {"enum": ["good", "failed", "unknown"]},
            "shelf": {"type": "string"},
            "again": {"type": "boolean"},
        },
    ),
    "/runs/{id}/finish": (
        "Manual driver: it has ended, with declared figures.",
        {"minutes": {"type": "integer"}, "grams": {"type": "number"}, "failed": {"type": "boolean"}},
    ),
    "/machines/{id}/emergency-stop": ("Stop at once.", {}),
    "/machines/{id}/release": ("Take the stop off.", {}),
    "/machines/{id}/cleared": ("The plate is free.", {"run": {"type": "string"}}),
    "/machines/{id}/outage": (
        "Out of order, or (over) usable again.",
        {"reason": {"type": "string"}, "over": {"type": "boolean"}},
    ),
}
_UPLOAD = {
    "file": {"type": "string", "format": "binary"},
    **{name: {"type": "string"} for name in ("machine", "material", "colour", "payer", "operator", "booking", "note")},
    "due": {"type": "string", "format": "date-time"},
    "copies": {"type": "integer", "minimum": 1, "maximum": 50},
    "max_price_cents": {"type": "integer"},
    "submit": {"type": "boolean", "default": True},
}


def document(public_url: str) -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, Any] = {
        "/openapi.json": {"get": {"summary": "This document.", "security": [], "responses": _ok({"type": "object"})}},
        "/jobs": {
            "get": _list("Jobs, newest first.", "Job", ["state", "who", "after", "limit"]),
            "post": {
                "summary": "Hand in a file; answers the job with its quote.",
                "requestBody": _body("multipart/form-data", _UPLOAD, ["file"]),
                "responses": {
                    **_ok(_ref("Job"), "201"),
                    "202": _content(_ref("Job"), "Still being checked."),
                    **_errors(),
                },
            },
        },
        "/jobs/{id}": {"get": _one("One job.", "Job")},
        "/machines": {"get": _list("Machines of the site.", "Machine", [])},
        "/machines/{id}": {"get": _one("One machine.", "Machine")},
    }
    for path, (summary, fields) in _ACTS.items():
        kind = "Machine" if path.startswith("/machines") else "Job"
        paths[path] = {
            "post": {
                "summary": summary,
                "parameters": BY_ID,
                "requestBody": _body("application/json", fields, []),
                "responses": {**_ok(_ref(kind)), **_errors()},
            }
        }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Fablab", "version": "1"},
        "servers": [{"url": public_url.rstrip("/") + "/api/v1"}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Job": _JOB, "Machine": _MACHINE, "Error": _ERROR},
        },
    }


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _content(schema: dict[str, Any], text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _ok(schema: dict[str, Any], status: str = "200") -> dict[str, Any]:
    return {status: _content(schema, "Done.")}


def _errors() -> dict[str, Any]:
    return {"default": _content(_ref("Error"), "Refused, with a code and a sentence.")}


def _one(summary: str, kind: str) -> dict[str, Any]:
    return {"summary": summary, "parameters": BY_ID, "responses": {**_ok(_ref(kind)), **_errors()}}


def _list(summary: str, kind: str, query: list[str]) -> dict[str, Any]:
    items = {
        "type": "object",
        "required": ["items", "next"],
        "properties": {"items": {"type": "array", "items": _ref(kind)}, "next": {"type": ["string", "null"]}},
    }
    parameters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in query]
    return {"summary": summary, "parameters": parameters, "responses": {**_ok(items), **_errors()}}


def _body(media: str, fields: dict[str, Any], required: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "properties": fields, **({"required": required} if required else {})}
    return {"required": bool(required), "content": {media: {"schema": schema}}}


_JOB: dict[str, Any] = {
    "type": "object",
    "required": ["id", "batch", "ids", "state", "reasons", "estimate", "plan", "price", "runs"],
    "properties": {
        "id": {"type": "string"},
        "batch": {"type": "string"},
        "ids": {"type": "array", "items": {"type": "string"}},
        "state": {
            "enum": [
                "checking", "draft", "refused", "queued", "held", "assigned", "running", "cancelling", "to_judge",
                "needs_attention", "done", "failed", "cancelled",
            ]
        },
        "reasons": {"type": "array", "items": {"type": "object"}},
        "estimate": {"type": "object"},
        "plan": {"type": "object"},
        "price": {"type": "object"},
        "runs": {"type": "array", "items": {"type": "object"}},
    },
}  # fmt: skip
_MACHINE: dict[str, Any] = {
    "type": "object",
    "required": ["id", "name", "state", "plate", "outage", "temperatures", "run"],
    "properties": {
        "id": {"type": "string"},
        "name": {"type": "string"},
        "state": {"type": "string"},
        "plate": {"enum": ["free", "to_clear", "unsure"]},
        "outage": {"type": ["object", "null"]},
        "temperatures": {"type": "object"},
        "run": {"type": ["object", "null"]},
    },
}
_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["code", "text", "data"],
    "properties": {"code": {"type": "string"}, "text": {"type": "string"}, "data": {"type": "object"}},
}
