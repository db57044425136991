"""Material in the house: what there is, what came, what is finished."""

from flask import Blueprint, flash, redirect, render_template, request, url_for
from sqlalchemy import select
from werkzeug.wrappers import Response

from fablab.billing import stock
from fablab.billing.tables import Material
from fablab.sentences import Refusal
from fablab.web import fields
from fablab.web.context import acting, now, reading, site_id, viewer
from fablab.web.text import gettext

blueprint = Blueprint("stock", __name__, template_folder="templates")


@blueprint.get("/stock")
def index() -> str:
    """Every spool, sheet and bag that is not finished."""
    return _page(None)


@blueprint.post("/stock")
def add() -> Response | tuple[str, int]:
    """A lot came in."""
    form = request.form
    try:
        grams = fields.whole(form, "grams", low=1, high=50_000)
        if grams is None:
            raise Refusal("field_missing", field="grams")
        price = fields.needed_cents(form, "price", low=0, high=500_00)  # a kilogram, for a member
        with acting() as session:
            new = stock.NewLot(
                material_id=fields.needed(form, "material"),
                colour=fields.needed(form, "colour", longest=40),
                brand=fields.text(form, "brand", longest=60),
                initial_mg=grams * 1000,
                cost_cents=fields.needed_cents(form, "cost", low=0),
                price_millicents_per_mg=_per_mg(price),
            )
            stock.add_lot(session, now(), viewer().person_id, site_id=site_id(), new=new)
    except Refusal as refusal:
        if refusal.code == "not_allowed":
            raise
        return _page(refusal), 400
    flash(gettext("Noted."))
    return redirect(url_for("stock.index"), 303)


@blueprint.post("/stock/<lot_id>/finish")
def finish(lot_id: str) -> Response:
    """It is empty, or thrown away."""
    with acting() as session:
        stock.finish(session, now(), viewer().person_id, lot_id=lot_id)
    flash(gettext("Noted."))
    return redirect(url_for("stock.index"), 303)


def _per_mg(cents_per_kg: int) -> int:
    """Cents a kilogram as millicents a milligram: 25 € are 2,500 cents a million mg, or 2.5 millicents; rounded up."""
    return -(-cents_per_kg * 1000 // 1_000_000)


def _page(problem: Refusal | None) -> str:
    with reading() as session:
        materials = session.execute(select(Material.id, Material.name).order_by(Material.name)).all()
        return render_template(
            "stock/index.html",
            problem=problem,
            lots=stock.lots(session, site_id()),
            materials=[(row.id, row.name) for row in materials],
            values=request.form,
        )
