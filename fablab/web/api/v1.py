"""The HTTP API, version 1: jobs, runs, machines. Bearer tokens only; a cookie never counts here."""

import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

from flask import Blueprint, request
from sqlalchemy import select
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from fablab.queue import claims, jobs, runs, summaries
from fablab.queue.jobs import Choices
from fablab.queue.tables import Job, Run
from fablab.sentences import Refusal
from fablab.web import fields
from fablab.web.api.openapi import document
from fablab.web.api.shapes import answer, body_of, job_shape, machine_shape, page_size
from fablab.web.context import acting, now, only_own_or_staff, parts, reading, site_id, viewer, zone
from fablab.web.uploads import store_upload

blueprint = Blueprint("api", __name__, url_prefix="/api/v1")

MEASURING_PATIENCE_S = 10.0
"""How long an upload waits for its price before it answers 202."""
LOOK_EVERY_S = 0.1
WORDS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}

Verb = Callable[[Session, datetime, str, str], None]


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """This API, described."""
    return answer(document(parts().config.web.public_url))


@blueprint.get("/jobs")
def jobs_list() -> Response:
    """Her jobs; all of the site for staff with `who=all`. `state` may be given several times."""
    everybody = viewer().staff and request.args.get("who") == "all"
    with reading() as session:
        items, following = summaries.job_list(
            session,
            now(),
            asker=None if everybody else viewer().person_id,
            site=site_id(),
            states=tuple(request.args.getlist("state")),
            after=request.args.get("after"),
            limit=page_size(),
        )
    return answer({"items": [job_shape(item) for item in items], "next": following})


@blueprint.post("/jobs")
def jobs_create() -> Response:
    """A file with choices becomes a job with its quote: 201, or 202 where measuring takes long."""
    form = request.form
    job_id = create_from_upload(choices_of(form), site_id())
    state = wait_for_quote(job_id)
    return answer(show_job(job_id), 202 if state == "checking" else 201)


@blueprint.get("/jobs/<job_id>")
def jobs_show(job_id: str) -> Response:
    """One job."""
    return answer(show_job(job_id))


@blueprint.post("/jobs/<job_id>/<any(submit, hold, release, cancel, approve, reject):act>")
def jobs_act(job_id: str, act: str) -> Response:
    """What a person says about a job."""
    actor = viewer().person_id
    plain: dict[str, Verb] = {
        "hold": jobs.hold,
        "release": jobs.release,
        "cancel": jobs.cancel,
        "approve": jobs.approve,
    }
    with acting() as session:
        if act == "submit":
            jobs.confirm(session, now(), actor, job_id, viewer().limit_cents)
        elif act == "reject":
            jobs.reject(session, now(), actor, job_id, fields.text(body_of(), "reason", longest=500))
        else:
            plain[act](session, now(), actor, job_id)
    return answer(show_job(job_id))


@blueprint.post("/runs/<run_id>/<any(go, pause, resume, cancel, judge, finish):act>")
def runs_act(run_id: str, act: str) -> Response:
    """What a person says about one attempt; answers its job."""
    body, actor = body_of(), viewer().person_id
    with acting() as session:
        if act == "go":
            runs.go(session, now(), actor, run_id, token=fields.optional(body, "token"))
        elif act == "judge":
            verdict = fields.one_of(body, "verdict", ("good", "failed", "unknown"))
            shelf, again = fields.optional(body, "shelf", longest=40), fields.ticked(body, "again")
            runs.judge(session, now(), actor, run_id, verdict=verdict, shelf=shelf, again=again)
        elif act == "finish":
            minutes = fields.whole(body, "minutes", low=0, high=14_400)
            grams = fields.decimal(body, "grams", low=0, high=20_000)
            runs.finish(
                session, now(), actor, run_id, minutes=minutes, grams=grams, failed=fields.ticked(body, "failed")
            )
        else:
            {"pause": runs.pause, "resume": runs.resume, "cancel": runs.cancel}[act](session, now(), actor, run_id)
        job_id = session.scalar(select(Run.job_id).where(Run.id == run_id))
    return answer(show_job(str(job_id)))


@blueprint.get("/machines")
def machines_list() -> Response:
    """All machines of the site."""
    with reading() as session:
        items = [machine_shape(machine) for machine in summaries.wall(session, now(), site_id())]
    return answer({"items": items, "next": None})


@blueprint.get("/machines/<machine_id>")
def machines_show(machine_id: str) -> Response:
    """One machine."""
    return answer(show_machine(machine_id))


@blueprint.post("/machines/<machine_id>/<any('emergency-stop', release, cleared, outage):act>")
def machines_act(machine_id: str, act: str) -> Response:
    """What a person says about a machine. outage: {"reason": …}, or {"over": true} when it works again."""
    body, actor = body_of(), viewer().person_id
    with acting() as session:
        if act == "emergency-stop":
            claims.emergency_stop(session, now(), actor, machine_id)
        elif act == "release":
            claims.release_stop(session, now(), actor, machine_id)
        elif act == "cleared":
            claims.cleared(session, now(), actor, machine_id, run_id=fields.optional(body, "run"))
        elif fields.ticked(body, "over"):
            claims.end_outage(session, now(), actor, machine_id)
        else:
            claims.declare_outage(session, now(), actor, machine_id, fields.needed(body, "reason", longest=300))
    return answer(show_machine(machine_id))


def choices_of(form: Any) -> Choices:
    """The choices in an upload. `submit` is true unless said otherwise; the key's own limit always counts.

    Raises Refusal field_….
    """
    submit = WORDS.get(fields.text(form, "submit").lower() or "true")
    if submit is None:
        raise Refusal("field_choice", field="submit")
    asked = fields.whole(form, "max_price_cents", low=0, high=10_000_00)
    return Choices(
        machine=fields.optional(form, "machine"),
        material=fields.optional(form, "material"),
        colour=fields.optional(form, "colour"),
        copies=fields.whole(form, "copies", low=1, high=50) or 1,
        payer=fields.optional(form, "payer"),
        operator=fields.optional(form, "operator"),
        booking=fields.optional(form, "booking"),
        due=fields.instant(form, "due", zone()),
        note=fields.text(form, "note", longest=500),
        max_price_cents=lowest(asked, viewer().limit_cents),
        submit=submit,
    )


def lowest(*limits: int | None) -> int | None:
    """The strictest of the limits; None where there is none."""
    return min((limit for limit in limits if limit is not None), default=None)


def create_from_upload(choices: Choices, site: str) -> str:
    """Store the file of the request and make the jobs; returns the first id. Raises Refusal as the verbs do."""
    actor = viewer().person_id
    with acting() as session:
        file = store_upload(session, request.files.get("file"))
        ids = jobs.create_jobs(session, now(), actor, site_id=site, asker=actor, file=file, choices=choices)
    return ids[0]


def wait_for_quote(job_id: str, patience_s: float = MEASURING_PATIENCE_S) -> str:
    """The job's state once the hub has looked at its file, or `checking` when that takes longer."""
    until = time.monotonic() + patience_s
    while True:
        with reading() as session:
            state = session.scalar(select(Job.state).where(Job.id == job_id)) or ""
        if state != "checking" or time.monotonic() > until:
            return state
        time.sleep(LOOK_EVERY_S)


def show_job(job_id: str) -> dict[str, Any]:
    """The job's shape, for its people and for staff."""
    with reading() as session:
        job = summaries.job_summary(session, now(), job_id)
    people = [(job[key] or {}).get("id") for key in ("asker", "payer", "operator")]
    only_own_or_staff(*people)
    return job_shape(job)


def show_machine(machine_id: str) -> dict[str, Any]:
    with reading() as session:
        return machine_shape(summaries.machine_summary(session, now(), machine_id))
