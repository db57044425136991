"""The wire: MQTT 3.1.1 through paho 2. Knows no message of ours; bus_local.py has a stand-in without a broker.

A bus promises nothing: what is published while there is no broker is gone. Tables and journals repeat what matters.
"""

import logging
import random
import secrets
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.reasoncodes import ReasonCode

from fablab.refusals import Refusal

log = logging.getLogger(__name__)

EMBEDDED_USER = "fablab"
"""The hub's and the web's user at the embedded broker."""
KEEPALIVE_S = 20
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 20.0
MAX_IN_FLIGHT = 1000
CONNECT_SECONDS = 5.0


@dataclass(frozen=True)
class Address:
    """Where the broker is and who we are there."""

    host: str
    port: int
    user: str = ""
    password: str = ""
    tls: bool = False
    ca_file: str | None = None


def address(
    url: str, *, host: str, port: int, password: str = "", user: str | None = None, ca_file: str | None = None
) -> Address:
    """The address that [broker] means; `user` None: the one in the URL. `host` and `port` are the embedded broker's.

    Raises Refusal broker_url where it is none of embedded, mqtt://…, mqtts://….
    """
    if url == "embedded":
        return Address(host, port, EMBEDDED_USER if user is None else user, password)
    try:
        parts = urlsplit(url)
        given = parts.port
    except ValueError as error:
        raise Refusal("broker_url", url=url) from error
    if parts.scheme not in {"mqtt", "mqtts"} or not parts.hostname:
        raise Refusal("broker_url", url=url)
    tls = parts.scheme == "mqtts"
    who = (parts.username or "") if user is None else user
    return Address(parts.hostname, given or (8883 if tls else 1883), who, password, tls, ca_file)


@dataclass(frozen=True)
class Message:
    """One message. `retained`: it lay at the broker and may be of any age. `ack` matters with manual_ack only."""

    topic: str
    payload: bytes
    qos: int = 1
    retained: bool = False
    ack: Callable[[], None] = lambda: None


Handler = Callable[[Message], None]
LinkCallback = Callable[[bool], None]


class Bus(Protocol):
    """What hub, agent and pages use of a wire. Callbacks run on the bus's own thread and must be short."""

    @property
    def connected(self) -> bool: ...

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> bool:
        """Hand over; False where there is no broker now, and the message is gone."""
        ...

    def subscribe(self, pattern: str, handler: Handler, qos: int = 1) -> None:
        """Get what matches `pattern`, now and after each reconnect. May be called before `start`."""
        ...

    def on_link(self, callback: LinkCallback) -> None:
        """Be told True after each connect (subscriptions are asked for by then) and False after each loss."""
        ...

    def start(self) -> None: ...

    def close(self) -> None:
        """Leave in order; the last will is not published."""
        ...


class MqttBus:
    """A client of a real broker on a thread of its own, which connects again for ever with growing pauses.

    `will` is asked before each connect, so that it may name the connection. With `manual_ack` each message waits at
    the broker until its `ack` is called.
    """

    def __init__(
        self,
        where: Address,
        client_id: str = "",
        *,
        will: Callable[[], Message | None] = lambda: None,
        manual_ack: bool = False,
    ) -> None:
        self._where = where
        self._id = client_id or f"fablab-{secrets.token_hex(6)}"  # two clients of one name throw each other out
        self._will = will
        self._manual_ack = manual_ack
        self._handlers: list[tuple[str, Handler, int]] = []
        self._links: list[LinkCallback] = []
        self._client: mqtt.Client | None = None
        self._last: mqtt.MQTTMessageInfo | None = None
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._up = threading.Event()
        self._down_logged = False
        self._refused: str | None = None
        self._thread = threading.Thread(target=self._run, name=f"bus {self._id}", daemon=True)

    @property
    def connected(self) -> bool:
        return self._up.is_set()

    def start(self) -> None:
        self._thread.start()

    def wait_connected(self, seconds: float) -> bool:
        """Whether there is a connection within so many seconds."""
        return self._up.wait(seconds)

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> bool:
        client = self._client
        if client is None or not self._up.is_set():
            return False
        info = client.publish(topic, payload, qos, retain)
        if qos:
            self._last = info
        return info.rc == mqtt.MQTT_ERR_SUCCESS

    def subscribe(self, pattern: str, handler: Handler, qos: int = 1) -> None:
        with self._lock:  # a connect that happens just now must not miss it
            self._handlers.append((pattern, handler, qos))
            client = self._client
            if client is not None and self._up.is_set():
                client.subscribe(pattern, qos)

    def on_link(self, callback: LinkCallback) -> None:
        self._links.append(callback)

    def close(self) -> None:
        self._closing.set()
        client, last = self._client, self._last
        if client is not None and self._up.is_set():
            if last is not None:
                try:
                    last.wait_for_publish(2.0)
                except (RuntimeError, ValueError):
                    log.debug("a message was left behind at the end")
            client.disconnect()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(CONNECT_SECONDS + 1)

    # ---- the thread

    def _run(self) -> None:
        pause = FIRST_PAUSE_S
        while not self._closing.is_set():
            was_up = self._one_connection()
            if self._closing.is_set():
                return
            pause = FIRST_PAUSE_S if was_up else min(LONGEST_PAUSE_S, pause * 2)
            self._closing.wait(pause * random.uniform(0.7, 1.3))  # noqa: S311 — spreads reconnects, hides nothing

    def _one_connection(self) -> bool:
        """Live through one connection; returns whether there was one at all."""
        client = self._client = self._make_client()
        seen = False
        self._refused = "the broker closed the connection without an answer: wrong user or password?"
        try:
            client.connect(self._where.host, self._where.port, KEEPALIVE_S)
            client.loop_forever(retry_first_connection=False)
        except (OSError, ValueError, mqtt.WebsocketConnectionError) as error:
            self._refused = str(error)
        seen = self._up.is_set()
        self._up.clear()
        if not self._closing.is_set():
            self._log_down("connection lost" if seen else self._refused)
        if seen:
            self._tell(False)
        return seen

    def _make_client(self) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._id,
            clean_session=True,
            protocol=mqtt.MQTTv311,
            reconnect_on_failure=False,
            manual_ack=self._manual_ack,
        )
        client.connect_timeout = CONNECT_SECONDS
        client.max_inflight_messages_set(MAX_IN_FLIGHT)
        if self._where.user:
            client.username_pw_set(self._where.user, self._where.password)
        if self._where.tls:
            client.tls_set(ca_certs=self._where.ca_file, tls_version=ssl.PROTOCOL_TLS_CLIENT)
        will = self._will()
        if will is not None:
            client.will_set(will.topic, will.payload, will.qos, will.retained)
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        return client

    def _on_connect(self, client: mqtt.Client, _data: Any, _flags: Any, reason: ReasonCode, _more: Any) -> None:
        if reason.is_failure:
            who = f"user {self._where.user!r}" if self._where.user else "a client without a user"
            self._refused = f"the broker refuses {who}: {reason}"
            client.disconnect()
            return
        with self._lock:
            for pattern, _, qos in self._handlers:
                client.subscribe(pattern, qos)
            self._up.set()
        if self._down_logged:
            log.info("%s: connected to the broker at %s:%d again", self._id, self._where.host, self._where.port)
            self._down_logged = False
        self._tell(True)

    def _on_message(self, client: mqtt.Client, _data: Any, got: mqtt.MQTTMessage) -> None:
        def ack() -> None:
            client.ack(got.mid, got.qos)

        message = Message(got.topic, bytes(got.payload), got.qos, got.retain, ack)
        dispatch([(pattern, handler) for pattern, handler, _ in self._handlers], message)

    def _log_down(self, why: str | None) -> None:
        if not self._down_logged:
            log.warning("%s: no broker at %s:%d: %s", self._id, self._where.host, self._where.port, why)
            self._down_logged = True

    def _tell(self, up: bool) -> None:
        for callback in self._links:
            try:
                callback(up)
            except Exception:  # a listener's fault must not end the wire
                log.exception("%s: a link callback failed", self._id)


def dispatch(handlers: list[tuple[str, Handler]], message: Message) -> None:
    """Give a message to each handler whose pattern it fits; what a handler raises is logged."""
    for pattern, handler in handlers:
        if mqtt.topic_matches_sub(pattern, message.topic):
            try:
                handler(message)
            except Exception:  # one bad message must not end the thread
                log.exception("a message on %s made its handler fail", message.topic)
