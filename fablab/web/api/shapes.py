"""How jobs, runs and machines look to programs: the read models with sentences, in the shape of the public contract."""

from typing import Any

from flask import jsonify, make_response, request
from werkzeug.wrappers import Response

from fablab.sentences import Refusal
from fablab.web.i18n import say
from fablab.web.overlay import job_now, machine_now


def job_shape(job: dict[str, Any]) -> dict[str, Any]:
    """A job as `/api/v1/jobs/ID` answers it: keys of the contract first, and more."""
    job = job_now(job)
    shape = {
        key: job.get(key)
        for key in ("id", "batch", "ids", "state", "reasons", "estimate", "plan", "price", "runs", "held_for", "shelf")
    }
    shape["reasons"] = [with_text(reason) for reason in job["reasons"]]
    shape["file"] = {"name": job["file"]["name"], "sha256": job["file"]["sha256"]}
    shape["choices"] = job["choices"]
    for key in ("asker", "payer", "operator", "created_at", "confirmed_at", "ended_at"):
        shape[key] = job.get(key)
    if "machines" in job:
        shape["machines"] = [
            {**machine, "reasons": [with_text(reason) for reason in machine["reasons"]]} for machine in job["machines"]
        ]
    return shape


def with_text(reason: dict[str, Any]) -> dict[str, Any]:
    return {**reason, "text": say(reason["code"], reason.get("data") or {})}


def machine_shape(machine: dict[str, Any]) -> dict[str, Any]:
    """A machine as `/api/v1/machines/ID` answers it. The start token of a run is shown to who may say go."""
    machine = machine_now(machine)
    return {**machine, "text": say(machine["code"]) if machine.get("code") else ""}


def answer(body: Any, status: int = 200) -> Response:
    return make_response(jsonify(body), status)


def body_of() -> dict[str, Any]:
    """The body of a post: a JSON object or form fields. Raises Refusal bad_json."""
    if request.mimetype == "application/json":
        found = request.get_json(silent=True)
        if not isinstance(found, dict):
            raise Refusal("bad_json")
        return found
    return dict(request.form)


def page_size() -> int:
    """`limit` of a list, 1 … 200."""
    text = request.args.get("limit", "50")
    return max(1, min(200, int(text))) if text.isdigit() else 50
