"""What the database itself refuses: changed or deleted facts, entries that do not sum to zero, cents that are no
integers.

An entry is whole when its seal is in: the seal is let in only when the postings of each currency sum to zero, no
posting is let in after it, and a deferred foreign key lets no entry be committed without it.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = ("postings", "entries", "entry_seals", "stock_moves", "audit")
INTEGERS = (("holds", "amount_cents"), ("stock_moves", "amount_mg"))


def upgrade() -> None:
    statements = _sqlite() if op.get_bind().dialect.name == "sqlite" else _postgresql()
    for statement in statements:
        op.execute(statement)


def _sqlite() -> list[str]:
    made = [
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for table in APPEND_ONLY
        for verb in ("UPDATE", "DELETE")
    ]
    for table, column in INTEGERS:
        for verb in ("INSERT", "UPDATE"):
            made.append(
                f"CREATE TRIGGER {table}_{column}_{verb.lower()} BEFORE {verb} ON {table} "
                f"WHEN typeof(NEW.{column}) <> 'integer' "
                f"BEGIN SELECT RAISE(ABORT, '{table}.{column} is an integer'); END"
            )
    made.append(
        "CREATE TRIGGER entry_seals_whole BEFORE INSERT ON entry_seals "
        "WHEN NOT EXISTS (SELECT 1 FROM entries WHERE id = NEW.entry_id) OR EXISTS ("
        "SELECT 1 FROM postings WHERE entry_id = NEW.entry_id GROUP BY currency HAVING sum(amount_cents) <> 0) "
        "BEGIN SELECT RAISE(ABORT, 'the postings of an entry sum to zero'); END"
    )
    made.append(
        "CREATE TRIGGER postings_before_seal BEFORE INSERT ON postings "
        "WHEN EXISTS (SELECT 1 FROM entry_seals WHERE entry_id = NEW.entry_id) "
        "BEGIN SELECT RAISE(ABORT, 'the entry is sealed'); END"
    )
    return made


FUNCTIONS = """
CREATE FUNCTION fablab_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$;

CREATE FUNCTION fablab_whole_entry() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF NOT EXISTS (SELECT 1 FROM entries WHERE id = NEW.entry_id) OR EXISTS (
    SELECT 1 FROM postings WHERE entry_id = NEW.entry_id GROUP BY currency HAVING sum(amount_cents) <> 0
) THEN RAISE EXCEPTION 'the postings of an entry sum to zero'; END IF; RETURN NEW; END $$;

CREATE FUNCTION fablab_before_seal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
IF EXISTS (SELECT 1 FROM entry_seals WHERE entry_id = NEW.entry_id)
THEN RAISE EXCEPTION 'the entry is sealed'; END IF; RETURN NEW; END $$;

CREATE TRIGGER entry_seals_whole BEFORE INSERT ON entry_seals FOR EACH ROW EXECUTE FUNCTION fablab_whole_entry();

CREATE TRIGGER postings_before_seal BEFORE INSERT ON postings FOR EACH ROW EXECUTE FUNCTION fablab_before_seal();
"""


def _postgresql() -> list[str]:
    made = FUNCTIONS.strip().split(";\n\n")
    for table in APPEND_ONLY:
        made.append(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION fablab_append_only()"
        )
        made.append(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION fablab_append_only()"
        )
    return made
