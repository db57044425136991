"""The key material of one agent: a file that only its owner can read, written by `init` or `agent enrol`."""

import os
import secrets
from pathlib import Path

import msgspec
from msgspec import Struct

from fablab.refusals import Refusal


class AgentToken(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who the agent is towards broker and hub. `hmac_key` is hex, 32 bytes."""

    agent: str
    mqtt_user: str
    mqtt_password: str
    http_token: str
    hmac_key: str

    @property
    def key(self) -> bytes:
        return bytes.fromhex(self.hmac_key)


def new_token(agent: str) -> AgentToken:
    """Fresh random secrets for an agent."""
    return AgentToken(
        agent=agent,
        mqtt_user=f"agent-{agent}",
        mqtt_password=secrets.token_urlsafe(24),
        http_token=secrets.token_urlsafe(32),
        hmac_key=secrets.token_hex(32),
    )


def save_token(file: Path, token: AgentToken) -> None:
    """Write the file, 0600 from its first byte on, in place of an older one."""
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}.part")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as out:
        out.write(msgspec.json.format(msgspec.json.encode(token), indent=2) + b"\n")
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)


def load_token(file: Path) -> AgentToken:
    """Read the file. Raises Refusal agent_token_missing | agent_token_open | agent_token_broken, each with `path`."""
    try:
        mode = file.stat().st_mode
        raw = file.read_bytes()
    except FileNotFoundError as error:
        raise Refusal("agent_token_missing", path=str(file)) from error
    except OSError as error:
        raise Refusal("agent_token_broken", path=str(file)) from error
    if mode & 0o077:
        raise Refusal("agent_token_open", path=str(file))
    try:
        token = msgspec.json.decode(raw, type=AgentToken)
        if len(token.key) < 16:
            raise ValueError("short key")
    except (msgspec.DecodeError, ValueError) as error:
        raise Refusal("agent_token_broken", path=str(file)) from error
    return token
