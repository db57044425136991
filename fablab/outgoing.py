"""The one place from which requests leave for other servers: which addresses, no redirects, one pinned address.

An address in fablab.toml is trusted as it stands. One that was typed on a page must not lead back into this box or
into the link-local net, unless fablab.toml lists it. Nothing here knows what is asked or what is answered.
"""

import ipaddress
import socket
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urlsplit

import httpx

SCHEMES = {"http": 80, "https": 443}

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressRefused(Exception):
    """An address to which no request goes. `code` is stable; `data` names the address.

    Codes: address_malformed, address_scheme, address_credentials, address_inward.
    """

    def __init__(self, code: str, **data: Any) -> None:
        super().__init__(code, data)
        self.code = code
        self.data = data


@dataclass(frozen=True)
class Destination:
    """A base address with the number that it had when it was checked; connections go there and nowhere else."""

    base: str  # scheme://host:port/path without a slash at the end
    host: str
    port: int
    pinned: str  # IP address in numbers


@dataclass(frozen=True)
class Rules:
    """What applies to addresses typed on a page."""

    own_ports: frozenset[int] = frozenset()  # where our own servers listen
    listed: frozenset[str] = frozenset()  # "host:port" that fablab.toml allows in spite of all


def check(url: str) -> None:
    """Raises AddressRefused where `url` is no HTTP address at all; looks no name up."""
    _split(url)


def trusted(url: str) -> Destination:
    """A destination from fablab.toml. Raises AddressRefused where it is no HTTP address, OSError without a name."""
    parts, host, port = _split(url)
    return _destination(parts, host, port, _resolve(host, port)[0])


def typed(url: str, rules: Rules) -> Destination:
    """A destination that somebody typed. Every address that the name has must be acceptable, not only the first."""
    parts, host, port = _split(url)
    addresses = _resolve(host, port)
    if f"{host}:{port}" not in rules.listed:
        for address in addresses:
            if _inward(address) or (port in rules.own_ports and _is_ours(address)):
                raise AddressRefused("address_inward", url=url)
    return _destination(parts, host, port, addresses[0])


def client(destination: Destination, headers: dict[str, str] | None = None) -> httpx.Client:
    """A client that reaches this destination only: no redirects, no proxy from the environment.

    Each request has a connection of its own. On a kept one, a server or proxy that has just hung up cannot be told from
    one that obeyed and then hung up, and an order must not be repeated.
    """
    return httpx.Client(
        base_url=destination.base,
        headers=headers,
        transport=_Pinned(destination),
        follow_redirects=False,
        trust_env=False,
    )


class _Pinned(httpx.BaseTransport):
    """Connects to the pinned number, while Host header and certificate check keep the name."""

    def __init__(self, destination: Destination) -> None:
        self._to = destination
        self._inner = httpx.HTTPTransport(
            verify=destination.base.startswith("https:"),  # without TLS, the certificates are not even loaded
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if (request.url.host, request.url.port or SCHEMES[request.url.scheme]) != (self._to.host, self._to.port):
            raise httpx.UnsupportedProtocol("address_elsewhere", request=request)
        request.extensions = {**request.extensions, "sni_hostname": self._to.host}
        request.url = request.url.copy_with(host=self._to.pinned)
        return self._inner.handle_request(request)

    def close(self) -> None:
        self._inner.close()


def _split(url: str) -> tuple[SplitResult, str, int]:
    url = url.strip()
    if any(sign in url for sign in "\\\r\n\t "):  # where two readers of one address disagree
        raise AddressRefused("address_malformed", url=url)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise AddressRefused("address_malformed", url=url) from error
    if parts.scheme not in SCHEMES:
        raise AddressRefused("address_scheme", url=url)
    if parts.username is not None or parts.password is not None:
        raise AddressRefused("address_credentials", url=f"{parts.scheme}://{host}")
    if not host or parts.query or parts.fragment:
        raise AddressRefused("address_malformed", url=url)
    return parts, host, port or SCHEMES[parts.scheme]


def _destination(parts: SplitResult, host: str, port: int, address: Address) -> Destination:
    shown = f"[{host}]" if ":" in host else host
    return Destination(f"{parts.scheme}://{shown}:{port}{parts.path.rstrip('/')}", host, port, str(address))


def _resolve(host: str, port: int) -> list[Address]:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    # IPv4 first: small machines seldom listen on IPv6, and one address is all we try
    return sorted(addresses, key=lambda address: address.version)


def _inward(address: Address) -> bool:
    """Loopback, link-local and the like, also where they hide inside an IPv6 address."""
    if isinstance(address, ipaddress.IPv6Address):
        inside = address.ipv4_mapped or address.sixtofour
        if inside is None and address in ipaddress.ip_network("64:ff9b::/96"):
            inside = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inside is not None:
            return _inward(inside)
    return (
        address.is_loopback
        or address.is_link_local
        or address.is_multicast
        or address.is_unspecified
        or address.is_reserved
    )


def _is_ours(address: Address) -> bool:
    """Whether the address belongs to this box: only then can a socket be bound to it."""
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True


def listed(urls: Collection[str]) -> frozenset[str]:
    """The "host:port" of addresses that fablab.toml names, for `Rules.listed`."""
    return frozenset(f"{host}:{port}" for _, host, port in map(_split, urls))
