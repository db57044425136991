"""What agents fetch over HTTP: the file of a run they prepare, and their own secrets when a new one is enrolled."""

import hashlib
import hmac
import secrets

from flask import Blueprint, request
from sqlalchemy import select
from werkzeug.wrappers import Response

from fablab import audit
from fablab.queue.tables import Agent, Run
from fablab.sentences import Refusal
from fablab.web.api.shapes import answer, body_of
from fablab.web.context import acting, now, parts, reading
from fablab.web.security import bearer
from fablab.web.uploads import send_job_file

blueprint = Blueprint("agents", __name__)


@blueprint.get("/api/agent/files/<run_id>")
def file(run_id: str) -> Response:
    """The file of a run, for who holds that run's own token, while the run lives. Parts on request.

    Raises Refusal bad_token: another run's token, an old one, and an unknown run look alike.
    """
    shown = hashlib.sha256(bearer().encode()).hexdigest()
    with reading() as session:
        run = session.get(Run, run_id)
        known = run.file_token_hash if run is not None and run.live else None
        if run is None or known is None or not hmac.compare_digest(known, shown):
            raise Refusal("bad_token")
        return send_job_file(session, run.job_id)


@blueprint.post("/api/agent/enrol")
def enrol() -> Response:
    """A new agent shows the code that a person gave it, once, and gets its secrets: {"agent", …} of its token file.

    Raises Refusal enrol_code_wrong for a code that is wrong, used or too old.
    """
    code = str(body_of().get("code") or "")
    shown = hashlib.sha256(code.encode()).hexdigest()
    with acting() as session:
        agent = session.scalar(select(Agent).where(Agent.enrol_code_hash == shown))
        if agent is None or not code or agent.enrol_until is None or agent.enrol_until < now():
            raise Refusal("enrol_code_wrong")
        token = {
            "agent": agent.id,
            "mqtt_user": f"agent-{agent.id}",
            "mqtt_password": secrets.token_urlsafe(24),
            "http_token": secrets.token_urlsafe(32),
            "hmac_key": secrets.token_hex(32),
        }
        agent.hmac_key = token["hmac_key"]
        agent.http_token_hash = hashlib.sha256(token["http_token"].encode()).hexdigest()
        agent.enrol_code_hash = agent.enrol_until = None
        audit.record(session, now(), "system:web", "agent.enrol", "agent", agent.id, address=request.remote_addr)
    return answer({**token, "site": parts().config.site.id})
