"""The outbox of messages to people: verbs append rows, the hub sends them. Knows codes and data, not sentences."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, Session, mapped_column

from fablab.db import Base
from fablab.ids import new_id


class Notice(Base):
    """One message to one person; `source` is unique, so that a verb applied twice writes once."""

    __tablename__ = "notices"
    id: Mapped[str] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(unique=True)
    person_id: Mapped[str | None] = mapped_column(index=True)
    address: Mapped[str | None]
    language: Mapped[str]
    code: Mapped[str]
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created_at: Mapped[datetime]
    next_try_at: Mapped[datetime | None]
    tries: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[datetime | None]
    read_at: Mapped[datetime | None]


def tell(
    session: Session,
    now: datetime,
    source: str,
    code: str,
    *,
    person_id: str | None,
    address: str | None,
    language: str,
    **data: Any,
) -> None:
    """Append a message, once per `source`; a person without an address reads it on her page."""
    if session.query(Notice.id).filter_by(source=source).first() is not None:
        return
    session.add(
        Notice(
            id=new_id(),
            source=source,
            person_id=person_id,
            address=address,
            language=language,
            code=code,
            data=data,
            created_at=now,
            next_try_at=now if address else None,
        )
    )
