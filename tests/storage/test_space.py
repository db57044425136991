"""People, keys, machines and bookings as rows, on both databases, with every refusal."""

from datetime import date, timedelta

import pytest

from fablab.billing import stock, tariffs
from fablab.billing.prices import TariffRates
from fablab.billing.stock import NewLot
from fablab.bookings import bookings
from fablab.config import Site as SiteSettings
from fablab.db import Database
from fablab.messages import MachineSettings
from fablab.sentences import Refusal
from fablab.space import machines, people, sites, tokens
from fablab.space.people import NewPerson
from fablab.space.tables import Grant, Machine
from tests.builders_money import NOW, ORG, SITE, add_machine, make_place

TOMORROW = NOW + timedelta(days=1)
HOURS = timedelta(hours=1)


@pytest.fixture
def place(database: Database) -> Database:
    with database.write() as session:
        make_place(session)
        add_machine(session)
    return database


def code_of(verb, *args, **data) -> str:
    with pytest.raises(Refusal) as caught:
        verb(*args, **data)
    return caught.value.code


def test_a_person_without_email_gets_a_membership_and_an_authorisation(place: Database) -> None:
    with place.write() as session:
        zoe = people.add_person(session, NOW, "max", NewPerson("  Zoé   Blanc "), organisation_id=ORG)
        assert (zoe.name, zoe.email, zoe.desk_limit_cents) == ("Zoé Blanc", None, 0)
        site, mk3 = sites.get(session, SITE), machines.get(session, "mk3")
        assert people.standing(session, NOW, zoe.id, site, mk3).member_until is None
        people.add_membership(
            session, NOW, "max", person_id=zoe.id, organisation_id=ORG, starts_on=date(2026, 1, 1),
            ends_on=date(2026, 3, 2), rules_signed=False,
        )  # fmt: skip
        people.authorise(session, NOW, "tom", person_id=zoe.id, machine_id="mk3", level="accompanied", until=None)
        people.authorise(session, NOW, "tom", person_id=zoe.id, machine_id="mk3", level="alone", until=date(2026, 3, 2))
        found = people.standing(session, NOW, zoe.id, site, mk3)
        assert (found.member_until, found.rules_signed, found.level) == (date(2026, 3, 2), False, "alone")
        people.sign_rules(session, NOW, zoe.id, person_id=zoe.id, organisation_id=ORG)
        assert people.standing(session, NOW, zoe.id, site, mk3).rules_signed
        # 23:30 UTC is already the 3rd in Paris: the membership was good on the 2nd, to the end of the local day
        late = NOW.replace(hour=23, minute=30)
        after = people.standing(session, late, zoe.id, site, mk3)
        assert (after.member_until, after.last_membership_ended, after.level) == (None, date(2026, 3, 2), None)
        people.withdraw(session, NOW, "tom", person_id=zoe.id, machine_id="mk3")
        assert people.standing(session, NOW, zoe.id, site, mk3).level is None
        assert [row.id for row in people.find_people(session, "blanc")] == [zoe.id]
        assert people.find_people(session, "%") == []


def test_what_people_may_not(place: Database) -> None:
    with place.write() as session:
        new = NewPerson("Zoé")
        assert code_of(people.add_person, session, NOW, "ana", new, organisation_id=ORG) == "not_allowed"
        assert code_of(people.add_person, session, NOW, "max", NewPerson(" "), organisation_id=ORG) == "name_missing"
        future = NewPerson("Zoé", birth_date=date(2030, 1, 1))
        assert code_of(people.add_person, session, NOW, "max", future, organisation_id=ORG) == "born_in_future"
        level = {"machine_id": "mk3", "level": "alone", "until": None}
        assert code_of(people.authorise, session, NOW, "tom", person_id="tom", **level) == "own_authorisation"
        assert code_of(people.authorise, session, NOW, "ana", person_id="bob", **level) == "not_allowed"
        level["level"] = "expert"
        assert code_of(people.authorise, session, NOW, "tom", person_id="ana", **level) == "unknown_level"
        role = {"organisation_id": ORG, "site_id": None}
        assert code_of(people.grant, session, NOW, "max", person_id="ana", role="manager", **role) == "not_allowed"
        assert code_of(people.grant, session, NOW, "max", person_id="ana", role="king", **role) == "unknown_role"


def test_who_teaches_on_a_machine_may_authorise_there(place: Database) -> None:
    with place.write() as session:
        people.authorise(session, NOW, "max", person_id="ana", machine_id="mk3", level="teach", until=None)
        people.authorise(session, NOW, "ana", person_id="bob", machine_id="mk3", level="alone", until=None)
        add_machine(session, "xl")
        assert code_of(
            people.authorise, session, NOW, "ana", person_id="bob", machine_id="xl", level="alone", until=None
        ) == ("not_allowed")


def test_roles_are_given_and_the_last_administrator_stays(place: Database) -> None:
    with place.write() as session:
        role = {"role": "administrator", "organisation_id": ORG, "site_id": None}
        boss = people.grant(session, NOW, "system:init", person_id="tom", **role)
        assert people.grant(session, NOW, "system:init", person_id="tom", **role).id == boss.id
        assert code_of(people.grant, session, NOW, "tom", person_id="tom", **role) == "own_role"
        assert code_of(people.ungrant, session, NOW, "tom", grant_id=boss.id) == "last_administrator"
        second = people.grant(session, NOW, "tom", person_id="ana", **role)
        people.ungrant(session, NOW, "ana", grant_id=boss.id)
        assert code_of(people.ungrant, session, NOW, "ana", grant_id=second.id) == "last_administrator"
        assert session.get_one(Grant, boss.id).revoked_at == NOW
        assert people.roles_of(session, "tom", SITE) == {"technician"}


def test_a_key_is_shown_once_and_kept_as_a_hash(place: Database) -> None:
    with place.write() as session:
        row, secret = tokens.create(
            session, NOW, "ana", person_id="ana", name="slicer", scope="submit", limit_cents=None
        )
        assert (row.limit_cents, secret in row.token_hash) == (0, False)
        assert tokens.verify(session, secret).id == row.id
        assert code_of(tokens.verify, session, secret + "x") == "bad_token"
        assert code_of(tokens.revoke, session, NOW, "bob", token_id=row.id) == "not_allowed"
        tokens.revoke(session, NOW, "ana", token_id=row.id)
        assert code_of(tokens.verify, session, secret) == "bad_token"
        other = {"person_id": "ana", "name": "x", "scope": "full", "limit_cents": None}
        assert code_of(tokens.create, session, NOW, "max", **other) == "not_allowed"
        other["scope"] = "all"
        assert code_of(tokens.create, session, NOW, "ana", **other) == "unknown_scope"


def test_machines_follow_the_settings_of_their_agent(place: Database) -> None:
    with place.write() as session:
        plain = MachineSettings(id="mk3", driver="marlin_serial", name="Prusa", use=("queue",), api_key_file="k")
        settings = {"site_id": SITE, "agent_id": "main", "sizes": {"mk3": machines.Size((250, 210, 210), 40)}}
        assert machines.sync(session, NOW, settings=[plain], **settings) == ["mk3"]
        assert machines.sync(session, NOW, settings=[plain], **settings) == []
        row = session.get_one(Machine, "mk3")
        assert (row.name, row.use, row.volume_mm, row.settings["api_key_file"]) == (
            "Prusa", ["queue"], [250, 210, 210], None,
        )  # fmt: skip
        settings["agent_id"] = "other"
        assert code_of(machines.sync, session, NOW, settings=[plain], **settings) == "machine_of_other_agent"
        settings["agent_id"] = "main"
        assert machines.sync(session, NOW, settings=[], **settings) == ["mk3"]
        assert code_of(machines.get, session, "mk3") == "unknown_machine"
        machines.sync(session, NOW, settings=[plain], **settings)
        assert machines.of_site(session, SITE) == [row]


def test_an_outage_is_declared_once_with_its_reason(place: Database) -> None:
    with place.write() as session:
        assert code_of(machines.declare_outage, session, NOW, "ana", machine_id="mk3", reason="x") == "not_allowed"
        assert code_of(machines.declare_outage, session, NOW, "tom", machine_id="mk3", reason=" ") == "reason_missing"
        first = machines.declare_outage(session, NOW, "tom", machine_id="mk3", reason="belt")
        assert machines.declare_outage(session, NOW, "max", machine_id="mk3", reason="again").id == first.id
        machines.end_outage(session, NOW, "max", machine_id="mk3")
        assert machines.outage_of(session, "mk3") is None


def test_who_may_book(place: Database) -> None:
    slot = {"machine_id": "mk3", "starts_at": TOMORROW, "ends_at": TOMORROW + 2 * HOURS}
    with place.write() as session:
        assert code_of(bookings.book, session, NOW, "ana", person_id="ana", **slot) == "not_authorised"
        people.authorise(session, NOW, "max", person_id="ana", machine_id="mk3", level="alone", until=None)
        assert code_of(bookings.book, session, NOW, "bob", person_id="ana", **slot) == "not_allowed"
        made = bookings.book(session, NOW, "ana", person_id="ana", **slot)
        assert [row.id for row in bookings.coming(session, NOW, site_id=SITE, person_id="ana")] == [made.id]
        with pytest.raises(Refusal) as caught:
            bookings.book(session, NOW, "tom", person_id="tom", **slot)
        assert caught.value.code == "already_booked"
        assert caught.value.data["free_at"] == (TOMORROW + 2 * HOURS).isoformat()
        slot |= {"starts_at": TOMORROW + 2 * HOURS, "ends_at": TOMORROW + 3 * HOURS}
        bookings.book(session, NOW, "max", person_id="tom", **slot)  # an end is not an overlap
        assert code_of(bookings.cancel, session, NOW, "bob", made.id) == "not_allowed"
        assert code_of(bookings.cancel, session, TOMORROW + 5 * HOURS, "ana", made.id) == "booking_over"
        bookings.cancel(session, NOW, "ana", made.id)
        slot |= {"starts_at": TOMORROW, "ends_at": TOMORROW + 2 * HOURS}
        bookings.book(session, NOW, "ana", person_id="ana", **slot)
        assert len(bookings.between(session, site_id=SITE, starts_at=TOMORROW, ends_at=TOMORROW + HOURS)) == 1


def test_the_next_free_time_fits_the_wanted_length(place: Database) -> None:
    with place.write() as session:
        for start, length in ((0, 1), (2, 1)):
            bookings.book(
                session, NOW, "tom", machine_id="mk3", person_id="tom", starts_at=TOMORROW + start * HOURS,
                ends_at=TOMORROW + (start + length) * HOURS,
            )  # fmt: skip
        wish = {"machine_id": "mk3", "person_id": "tom", "starts_at": TOMORROW, "ends_at": TOMORROW + 2 * HOURS}
        with pytest.raises(Refusal) as caught:
            bookings.book(session, NOW, "tom", **wish)
        assert caught.value.data["free_at"] == (TOMORROW + 3 * HOURS).isoformat()


def test_stock_moves_once_per_run_and_follows_the_scale(place: Database) -> None:
    with place.write() as session:
        new = NewLot("pla", "orange", 1_000_000, 2500, 5)
        assert code_of(stock.add_lot, session, NOW, "ana", site_id=SITE, new=new) == "not_allowed"
        lot = stock.add_lot(session, NOW, "max", site_id=SITE, new=new)
        assert (lot.number, stock.add_lot(session, NOW, "max", site_id=SITE, new=new).number) == (1, 2)
        for _ in range(2):
            stock.consume(session, NOW, lot_id=lot.id, amount_mg=9000, kind="commanded", run_id="r1")
        assert stock.remaining_mg(session, lot.id) == 991_000
        for _ in range(2):
            stock.adjust(session, NOW, "tom", lot_id=lot.id, weighed_mg=980_000, source_id="w1")
        assert stock.remaining_mg(session, lot.id) == 980_000
        stock.finish(session, NOW, "tom", lot.id)
        assert [row.number for row, _, _ in stock.lots(session, SITE)] == [2]


def test_the_tariff_of_the_machine_comes_before_the_general_one(place: Database) -> None:
    with place.write() as session:
        what = {"organisation_id": ORG, "valid_from": NOW}
        tariffs.set_tariff(session, NOW, "max", machine_id=None, new=TariffRates(10), **what)
        own = tariffs.set_tariff(session, NOW, "max", machine_id="mk3", new=TariffRates(20), **what)
        later = NOW + timedelta(days=30)
        next_ = tariffs.set_tariff(
            session, NOW, "max", organisation_id=ORG, machine_id="mk3", new=TariffRates(30), valid_from=later
        )
        assert next_.version == 2
        for at, machine, rate in ((NOW, "mk3", 20), (later, "mk3", 30), (NOW, "xl", 10)):
            found = tariffs.tariff_of(session, at, ORG, machine)
            assert found is not None and found.millicents_per_s == rate
        assert tariffs.tariff_of(session, NOW - HOURS, ORG, "mk3") is None
        assert own.millicents_per_s == 20
        past = {"organisation_id": ORG, "machine_id": "mk3", "new": TariffRates(1), "valid_from": NOW - HOURS}
        assert code_of(tariffs.set_tariff, session, NOW, "max", **past) == "tariff_in_past"


def test_a_site_is_founded_once_and_has_its_rules(place: Database) -> None:
    with place.write() as session:
        new = SiteSettings(id="agen", name="Agen", phone="1")
        made = sites.found(session, NOW, "system:init", new, "Ville d'Agen")
        assert sites.found(session, NOW, "system:init", SiteSettings(id="agen", name="Agen 2"), "x").id == made.id
        assert made.name == "Agen 2"
        bad = sites.HouseRules(failed_part="sometimes")
        assert code_of(sites.set_house_rules, session, NOW, "max", site_id=SITE, rules=bad) == "bad_house_rule"
        sites.set_house_rules(session, NOW, "max", site_id=SITE, rules=sites.HouseRules(failed_part="material"))
        assert sites.get(session, SITE).failed_part == "material"
