"""Tables of signing in. An account is not a member: most people need none, and one person has at most one."""

from datetime import datetime

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from fablab.db import Base


class Account(Base):
    """How a person signs in: by `login` or `email` (both kept in lower case), with a password hashed by argon2id."""

    __tablename__ = "accounts"
    id: Mapped[str] = mapped_column(primary_key=True)
    person_id: Mapped[str] = mapped_column(ForeignKey("people.id"), unique=True)
    login: Mapped[str] = mapped_column(unique=True)
    email: Mapped[str | None] = mapped_column(unique=True)
    password_hash: Mapped[str]
    uniquifier: Mapped[str] = mapped_column(unique=True)  # changed with the password: ends every session
    active: Mapped[bool] = mapped_column(default=True)
    created_at: Mapped[datetime]
    signed_in_at: Mapped[datetime | None]


class SignInFailure(Base):
    """How often signing in failed, by what was tried (`login:…`) and from where (`address:…`)."""

    __tablename__ = "sign_in_failures"
    key: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
    last_at: Mapped[datetime]
    locked_until: Mapped[datetime | None]
