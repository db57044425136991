"""Who did what, appended in the transaction of the verb itself. Never changed, never read by a decision."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Mapped, Session, mapped_column

from fablab.db import Base
from fablab.ids import new_id


class AuditEntry(Base):
    """One act. `actor` is a person's id, or `system:<role>` where no person stood behind it."""

    __tablename__ = "audit"
    id: Mapped[str] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(index=True)
    actor: Mapped[str] = mapped_column(index=True)
    verb: Mapped[str]
    object_kind: Mapped[str]
    object_id: Mapped[str] = mapped_column(index=True)
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)


def record(
    session: Session, now: datetime, actor: str, verb: str, object_kind: str, object_id: str, **data: Any
) -> None:
    """Append one act to the session's transaction."""
    session.add(
        AuditEntry(id=new_id(), at=now, actor=actor, verb=verb, object_kind=object_kind, object_id=object_id, data=data)
    )
