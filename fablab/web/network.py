"""Where a request came from, with one reverse proxy on this box or none."""

from flask import request

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


def client_address() -> str:
    """The caller's address. A proxy's word counts only where the proxy itself is on loopback."""
    peer = request.remote_addr or ""
    if peer in LOOPBACK:
        forwarded = request.headers.get("X-Forwarded-For", "").split(",")[-1].strip()
        return forwarded or peer or "local"
    return peer


def from_this_box() -> bool:
    return client_address() in LOOPBACK
