"""Which addresses requests may leave for, and that they go to the pinned number, without redirects or proxies."""

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import pytest

from fablab.outgoing import AddressRefused, Destination, Rules, check, client, listed, trusted, typed

INWARD = [
    "http://127.0.0.1/",
    "http://127.8.8.8:5000",
    "http://localhost",
    "http://[::1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    "http://0.0.0.0/",
    "http://169.254.169.254/latest/meta-data",
    "http://[fe80::1]/",
    "http://224.0.0.1/",
    "http://2130706433/",
    "http://0x7f.1/",
]


@pytest.mark.parametrize("url", INWARD)
def test_an_address_typed_on_a_page_does_not_lead_back_inside(url: str) -> None:
    with pytest.raises(AddressRefused) as refused:
        typed(url, Rules())
    assert refused.value.code == "address_inward"


def test_printers_on_the_local_net_may_be_typed() -> None:
    assert typed("http://192.0.2.17:5000/octo/", Rules(frozenset({8080}))) == Destination(
        "http://192.0.2.17:5000/octo", "192.0.2.17", 5000, "192.0.2.17"
    )
    assert typed("https://192.0.2.17", Rules()).port == 443


def test_our_own_ports_are_refused_on_each_of_our_addresses(own_address: str) -> None:
    rules = Rules(own_ports=frozenset({8080}))
    assert typed(f"http://{own_address}:5000", rules).port == 5000
    with pytest.raises(AddressRefused, match="address_inward"):
        typed(f"http://{own_address}:8080", rules)


def test_what_the_configuration_lists_or_holds_is_trusted() -> None:
    urls = ["http://127.0.0.1:5000/api"]
    assert typed("http://127.0.0.1:5000", Rules(listed=listed(urls))).pinned == "127.0.0.1"
    with pytest.raises(AddressRefused):
        typed("http://127.0.0.1:5001", Rules(listed=listed(urls)))
    assert trusted("http://127.0.0.1:5001").pinned == "127.0.0.1"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("ftp://192.0.2.1/", "address_scheme"),
        ("file:///etc/passwd", "address_scheme"),
        ("192.0.2.1:5000", "address_scheme"),
        ("", "address_scheme"),
        ("http://", "address_malformed"),
        ("http://[::1", "address_malformed"),
        ("http://192.0.2.1:99999/", "address_malformed"),
        ("http://192.0.2.1/?a=b", "address_malformed"),
        ("http://192.0.2.1/#a", "address_malformed"),
        ("http://192.0.2.1\\@127.0.0.1/", "address_malformed"),
        ("http://192.0.2.1 /", "address_malformed"),
        ("http://user:word@192.0.2.1/", "address_credentials"),
    ],
)
def test_what_is_no_plain_http_address_is_refused(url: str, code: str) -> None:
    for judge in (check, trusted, lambda url: typed(url, Rules())):
        with pytest.raises(AddressRefused) as refused:
            judge(url)
        assert refused.value.code == code
        assert "word" not in str(refused.value.data)


class Elsewhere(BaseHTTPRequestHandler):
    """Redirects everything, and remembers who was asked for."""

    hosts: list[str] = []

    def do_GET(self) -> None:
        self.hosts.append(self.headers["Host"])
        self.send_response(302)
        self.send_header("Location", "http://192.0.2.1/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def redirecting() -> Iterator[int]:
    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_redirect_is_an_answer_and_nothing_more(redirecting: int) -> None:
    with client(trusted(f"http://127.0.0.1:{redirecting}")) as us:
        assert us.get("/x").status_code == 302


def test_the_connection_goes_to_the_pinned_number_under_the_name_that_was_asked(
    redirecting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9/")
    to = Destination(f"http://printer.invalid:{redirecting}", "printer.invalid", redirecting, "127.0.0.1")
    with client(to) as us:
        assert us.get("/x").status_code == 302
        assert Elsewhere.hosts[-1] == f"printer.invalid:{redirecting}"
        with pytest.raises(httpx.UnsupportedProtocol):
            us.get(f"http://127.0.0.1:{redirecting}/x")


def test_a_certificate_that_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate), "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*make, *files], check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = HTTPServer(("127.0.0.1", 0), Elsewhere)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with (
            client(trusted(f"https://127.0.0.1:{server.server_port}")) as us,
            pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
        ):
            us.get("/x")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def own_address() -> str:
    """An address of this box that is no loopback one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing: only asks which of our addresses would be used
        return str(probe.getsockname()[0])
