"""The desk: who has something to pay, for who takes money."""

from flask import Blueprint, render_template

from fablab.web import reads
from fablab.web.context import reading

blueprint = Blueprint("desk", __name__, template_folder="templates")


@blueprint.get("/desk")
def index() -> str:
    """Everybody who owes something, most first."""
    with reading() as session:
        return render_template("desk/index.html", owing=reads.owing(session))
