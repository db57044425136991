"""People, for staff: find and add somebody, membership, authorisations, roles, and her money at the counter."""

from datetime import timedelta
from typing import Any

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy.orm import Session
from werkzeug.wrappers import Response

from fablab.billing import desk
from fablab.ids import new_id
from fablab.sentences import Refusal
from fablab.space import people
from fablab.space.tables import Person, Site
from fablab.web import accounts, fields, reads
from fablab.web.context import acting, now, reading, site_id, viewer, zone
from fablab.web.i18n import person_language
from fablab.web.pages.jobs.forms import person_of
from fablab.web.pages.people.show import person_page
from fablab.web.text import gettext

blueprint = Blueprint("people", __name__, template_folder="templates")

MEANS = ("cash", "card", "bank")
A_YEAR = timedelta(days=364)


@blueprint.get("/people")
def index() -> str:
    """Everybody, or those whose name contains what was typed."""
    wanted = fields.text(request.args, "q", longest=80)
    with reading() as session:
        return render_template("people/index.html", people=people.find_people(session, wanted, 200), wanted=wanted)


@blueprint.get("/people/new")
def new() -> str:
    """The form for somebody new; a name is enough."""
    return render_template("people/new.html", problem=None, values={})


@blueprint.post("/people/new")
def add() -> Response | tuple[str, int]:
    """Write somebody down, without an account."""
    form = request.form
    try:
        new_person = people.NewPerson(
            name=fields.needed(form, "name"),
            email=fields.optional(form, "email"),
            phone=fields.optional(form, "phone", longest=40),
            locale=fields.optional(form, "locale") or person_language(),
            birth_date=fields.day(form, "birth_date"),
        )
        with acting() as session:
            actor = viewer().person_id
            person = people.add_person(session, now(), actor, new_person, organisation_id=organisation(session))
            if fields.ticked(form, "member"):
                today = now().astimezone(zone()).date()
                people.add_membership(
                    session, now(), actor, person_id=person.id, organisation_id=organisation(session),
                    starts_on=today, ends_on=today + A_YEAR, rules_signed=fields.ticked(form, "rules"),
                )  # fmt: skip
    except Refusal as refusal:
        if refusal.code == "not_allowed":
            raise
        return render_template("people/new.html", problem=refusal, values=form), 400
    return _back(person.id)


@blueprint.get("/people/<person_id>")
def show(person_id: str) -> str:
    """One person."""
    with reading() as session:
        return render_template("people/show.html", **person_page(session, person_id))


@blueprint.post("/people/<person_id>/membership")
def membership(person_id: str) -> Response:
    """A membership from one day to another, both included."""
    form = request.form
    with acting() as session:
        people.add_membership(
            session, now(), viewer().person_id, person_id=person_id, organisation_id=organisation(session),
            starts_on=fields.needed_day(form, "starts_on"), ends_on=fields.needed_day(form, "ends_on"),
            rules_signed=fields.ticked(form, "rules"),
        )  # fmt: skip
    return _back(person_id)


@blueprint.post("/people/<person_id>/authorise")
def authorise(person_id: str) -> Response:
    """What she may do on a machine from now on."""
    form = request.form
    with acting() as session:
        people.authorise(
            session, now(), viewer().person_id, person_id=person_id, machine_id=fields.needed(form, "machine"),
            level=fields.one_of(form, "level", ("accompanied", "alone", "teach")), until=fields.day(form, "until"),
        )  # fmt: skip
    return _back(person_id)


@blueprint.post("/people/<person_id>/withdraw")
def withdraw(person_id: str) -> Response:
    """An authorisation ends."""
    with acting() as session:
        people.withdraw(
            session, now(), viewer().person_id, person_id=person_id, machine_id=fields.needed(request.form, "machine")
        )
    return _back(person_id)


@blueprint.post("/people/<person_id>/grant")
def grant(person_id: str) -> Response:
    """A role at this place."""
    with acting() as session:
        people.grant(
            session, now(), viewer().person_id, person_id=person_id, role=fields.needed(request.form, "role"),
            organisation_id=organisation(session), site_id=site_id(),
        )  # fmt: skip
    return _back(person_id)


@blueprint.post("/people/<person_id>/ungrant")
def ungrant(person_id: str) -> Response:
    """A role ends."""
    with acting() as session:
        people.ungrant(session, now(), viewer().person_id, grant_id=fields.needed(request.form, "grant"))
    return _back(person_id)


@blueprint.post("/people/<person_id>/account")
def account(person_id: str) -> Response:
    """A way to sign in, or a new password for who has one. Whoever may not change roles touches no colleague's."""
    form, actor = request.form, viewer().person_id
    with acting() as session:
        person = person_of(session, person_id)
        _no_power_by_password(session, person)
        if fields.ticked(form, "reset"):
            accounts.reset_password(session, now(), actor, person_id, str(form.get("password") or ""))
        else:
            accounts.create_account(
                session, now(), actor, person_id=person_id, login=fields.needed(form, "login", longest=80),
                password=str(form.get("password") or ""), email=person.email,
            )  # fmt: skip
    return _back(person_id)


@blueprint.post("/people/<person_id>/top-up")
def top_up(person_id: str) -> Response:
    """Money for her wallet, received by the viewer."""
    _receive(desk.top_up, person_id)
    return _back(person_id)


@blueprint.post("/people/<person_id>/desk-payment")
def desk_payment(person_id: str) -> Response:
    """Money for what she owes, received by the viewer."""
    _receive(desk.desk_payment, person_id)
    return _back(person_id)


@blueprint.post("/people/<person_id>/desk-limit")
def desk_limit(person_id: str) -> Response:
    """How much she may owe at the desk."""
    limit = fields.needed_cents(request.form, "limit", low=0, high=2_000_00)
    with acting() as session:
        people.set_desk_limit(
            session, now(), viewer().person_id, person_id=person_id, organisation_id=organisation(session),
            limit_cents=limit,
        )  # fmt: skip
    return _back(person_id)


def organisation(session: Session) -> str:
    """The organisation of this place."""
    return session.get_one(Site, site_id()).organisation_id


def _receive(verb: Any, person_id: str) -> None:
    """Book money once per form that was shown: a second click with the same form number changes nothing."""
    form = request.form
    amount = fields.needed_cents(form, "amount")
    means = fields.one_of(form, "means", MEANS)
    source = f"web:{viewer().person_id}:{fields.optional(form, 'once', longest=60) or new_id()}"
    with acting() as session:
        verb(
            session, now(), viewer().person_id, person_id=person_id, organisation_id=organisation(session),
            amount_cents=amount, means=means, source_id=source,
        )  # fmt: skip


def _no_power_by_password(session: Session, person: Person) -> None:
    """A manager who sets the password of somebody with more rights would have those rights: refused."""
    hers = {row.role for row in reads.grants(session, person.id)}
    if hers & {"administrator", "coordinator", "treasurer"} and not viewer().has("administrator"):
        raise Refusal("not_allowed")


def _back(person_id: str) -> Response:
    flash(gettext("Noted."))
    return redirect(url_for("people.show", person_id=person_id), 303)
