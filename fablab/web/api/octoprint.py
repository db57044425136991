"""What slicers' "send to OctoPrint" speaks: a version and an upload. An upload becomes a quoted job like any other.

It never starts a machine: the answer says so (`effectivePrint` false). The shape is OctoPrint's public API.
"""

from flask import Blueprint, request, url_for
from werkzeug.wrappers import Response

from fablab.queue.jobs import Choices
from fablab.sentences import Refusal
from fablab.web.api.shapes import answer
from fablab.web.api.v1 import create_from_upload, wait_for_quote
from fablab.web.context import parts, site_id, viewer

blueprint = Blueprint("octoprint", __name__)

PATIENCE_S = 5.0
"""A slicer's window waits with us; the price is on the job's page a moment later in any case."""


@blueprint.get("/api/version")
def version() -> Response:
    """What PrusaSlicer and OrcaSlicer look at when "Test" is pressed: `text` must begin with OctoPrint."""
    return answer({"api": "0.1", "server": "1.11.0", "text": f"OctoPrint (Fablab, {parts().config.site.name})"})


@blueprint.post("/api/files/local")
def upload() -> Response:
    """A file from a slicer. It is confirmed by itself only where the key has a limit and the ceiling is within it."""
    if request.form.get("foldername"):
        raise Refusal("no_folders")
    limit = viewer().limit_cents
    submit = limit != 0 and (viewer().full_token or limit is not None)
    job_id = create_from_upload(Choices(max_price_cents=limit, submit=submit), site_id())
    wait_for_quote(job_id, PATIENCE_S)
    name = request.files["file"].filename or "file.gcode"
    base = parts().config.web.public_url.rstrip("/")
    page = base + url_for("jobs.show", job_id=job_id)
    response = answer(
        {
            "done": True,
            "effectiveSelect": False,
            "effectivePrint": False,
            "files": {
                "local": {
                    "name": name,
                    "display": name,
                    "path": name,
                    "origin": "local",
                    "type": "machinecode",
                    "typePath": ["machinecode", "gcode"],
                    "refs": {"resource": f"{base}/api/v1/jobs/{job_id}", "download": f"{page}/file"},
                }
            },
            "job": job_id,
            "page": page,
        },
        201,
    )
    response.headers["Location"] = f"{base}/api/v1/jobs/{job_id}"
    return response
