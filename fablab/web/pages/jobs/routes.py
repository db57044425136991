"""The pages of jobs: list, upload, draft with its price, live page, receipt. Rules are the verbs' own."""

from typing import Any

from flask import Blueprint, flash, make_response, redirect, render_template, request, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from fablab.queue import jobs, summaries
from fablab.sentences import Refusal
from fablab.web import fields
from fablab.web.context import acting, now, only_own_or_staff, reading, site_id, viewer
from fablab.web.fragments import fragment
from fablab.web.pages.jobs.forms import choices_of, options, person_of
from fablab.web.pages.jobs.show import acts_of, job_page
from fablab.web.pages.jobs.todo import things_to_do
from fablab.web.text import gettext
from fablab.web.uploads import picture_of, send_job_file, store_upload

blueprint = Blueprint("jobs", __name__, template_folder="templates")


@blueprint.get("/jobs")
def index() -> str:
    """Her own; staff may look at everybody's."""
    everybody = viewer().staff and request.args.get("who") == "all"
    with reading() as session:
        found, following = summaries.job_list(
            session,
            now(),
            asker=None if everybody else viewer().person_id,
            site=site_id(),
            after=request.args.get("after"),
        )
    return render_template("jobs/index.html", jobs=found, following=following, everybody=everybody)


@blueprint.get("/jobs/queue")
def queue() -> str:
    """What waits for somebody of the place, and why each job waits."""
    with reading() as session:
        return render_template("jobs/queue.html", **things_to_do(session))


@blueprint.get("/jobs/new")
def new() -> str:
    """The upload form; staff may fill it in for a person who has no account."""
    return _form(None)


@blueprint.post("/jobs/new")
def send() -> Response | tuple[str, int]:
    """Store the file and make the jobs. A file that cannot be meant is refused here, and nothing of it is kept."""
    try:
        asker = _asker()
        choices = choices_of(request.form)
        with acting() as session:
            file = store_upload(session, request.files.get("file"))
            ids = jobs.create_jobs(
                session, now(), viewer().person_id, site_id=site_id(), asker=asker, file=file, choices=choices
            )
    except Refusal as refusal:
        if refusal.code == "not_allowed":
            raise
        return _form(refusal), 400
    return redirect(url_for("jobs.show", job_id=ids[0]), 303)


@blueprint.get("/jobs/<job_id>")
def show(job_id: str) -> str:
    """One job, from draft to receipt."""
    with reading() as session:
        page = job_page(session, job_id)
        return render_template("jobs/show.html", has_picture=picture_of(session, job_id) is not None, **page)


@blueprint.get("/jobs/<job_id>/live")
def live(job_id: str) -> Response:
    """The part of the page that moves."""
    with reading() as session:
        page = job_page(session, job_id)
    part = "jobs/part_acts.html" if request.args.get("part") == "acts" else "jobs/part_live.html"
    looks = page["acts_version"] if request.args.get("part") == "acts" else page["live_version"]
    return fragment(part, looks, **page)


@blueprint.post("/jobs/<job_id>/change")
def change(job_id: str) -> Response:
    """Other choices for a draft; it gets a new price."""
    with acting() as session:
        jobs.change(session, now(), viewer().person_id, job_id, choices_of(request.form))
    return redirect(url_for("jobs.show", job_id=job_id), 303)


@blueprint.post("/jobs/<job_id>/confirm")
def confirm(job_id: str) -> Response:
    """Yes to the price: every draft of the batch goes into the queue, or none."""
    with acting() as session:
        for one in _drafts(session, job_id):
            jobs.confirm(session, now(), viewer().person_id, one)
    flash(gettext("Confirmed. You can follow it here."))
    return redirect(url_for("jobs.show", job_id=job_id), 303)


@blueprint.post("/jobs/<job_id>/<any(cancel, hold, release):act>")
def act(job_id: str, act: str) -> Response:
    """Cancel, put aside, take up again."""
    verb = {"cancel": jobs.cancel, "hold": jobs.hold, "release": jobs.release}[act]
    with acting() as session:
        verb(session, now(), viewer().person_id, job_id)
    done = {
        "cancel": gettext("Cancelled."),
        "hold": gettext("Put aside."),
        "release": gettext("Back in the queue."),
    }
    flash(done[act])
    return redirect(url_for("jobs.show", job_id=job_id), 303)


@blueprint.post("/jobs/<job_id>/<any(approve, reject, resolve):decision>")
def decide(job_id: str, decision: str) -> Response:
    """A person of the place decides about a job."""
    actor = viewer().person_id
    with acting() as session:
        if decision == "approve":
            jobs.approve(session, now(), actor, job_id)
        elif decision == "reject":
            jobs.reject(session, now(), actor, job_id, fields.text(request.form, "reason", longest=500))
        else:
            acts_of(session, actor, job_id, request.form)
    flash(gettext("Noted."))
    return redirect(url_for("jobs.show", job_id=job_id), 303)


@blueprint.get("/jobs/<job_id>/preview")
def preview(job_id: str) -> Response:
    """The picture that the slicer put into the file."""
    with reading() as session:
        job = summaries.job_summary(session, now(), job_id)
        only_own_or_staff(job["asker"]["id"], job["payer"]["id"])
        found = picture_of(session, job_id)
    if found is None:
        raise Refusal("page_not_found")
    response = make_response(found[1])
    response.headers["Content-Type"] = found[0]
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.headers["Cache-Control"] = "private, max-age=86400"
    return response


@blueprint.get("/jobs/<job_id>/file")
def file(job_id: str) -> Response:
    """The file as it was sent: always an attachment, never shown by the browser."""
    with reading() as session:
        job = summaries.job_summary(session, now(), job_id)
        only_own_or_staff(job["asker"]["id"], job["payer"]["id"])
        return send_job_file(session, job_id)


def _asker() -> str:
    """For whom the job is: she herself, or somebody she acts for as staff."""
    wanted = fields.optional(request.values, "for")
    if wanted is None or wanted == viewer().person_id:
        return viewer().person_id
    if not viewer().staff:
        raise Refusal("not_allowed")
    return wanted


def _drafts(session: Session, job_id: str) -> list[str]:
    """The drafts of the job's batch; the job itself where none is one, so that the verb says why not."""
    job = summaries.job_summary(session, now(), job_id)
    ids = [one for one in job.get("ids") or [job_id] if _state(session, one) == "draft"]
    return ids or [job_id]


def _state(session: Session, job_id: str) -> str:
    from fablab.queue.tables import Job

    found = session.get(Job, job_id)
    return found.state if found is not None else ""


def _form(problem: Refusal | None) -> str:
    asker = _asker()
    with reading() as session:
        person: Any = person_of(session, asker)
        return render_template(
            "jobs/new.html",
            problem=problem,
            person=person,
            for_other=asker != viewer().person_id,
            values=request.form,
            choice=options(session, site_id(), asker, now()),
        )
