"""A machine behind a metered plug that speaks as Tasmota does: power on for a time, watts, power off."""

from typing import ClassVar

from fablab.devices.drivers.driver import Capability, Hosted, Surroundings
from fablab.devices.protocols.relay import Relay, device_topic
from fablab.devices.transports.mqtt_device import MqttDevice
from fablab.messages import MachineSettings
from fablab.refusals import Refusal
from fablab.topics import BadName, check_name


class MqttRelay:
    """Its power is a lease in the plug itself, which ends when nobody renews it."""

    kind: ClassVar[str] = "mqtt_relay"
    capabilities: ClassVar[frozenset[Capability]] = frozenset(
        {Capability.SWITCH, Capability.REPORT, Capability.STOP_NOW}
    )
    needs_profile: ClassVar[bool] = False

    @staticmethod
    def build(settings: MachineSettings, surroundings: Surroundings) -> Hosted:
        """Raises `Refusal` topic_missing, topic_bad, broker_missing."""
        if not settings.topic:
            raise Refusal("topic_missing", machine=settings.id)
        try:
            check_name(settings.topic)
        except BadName as error:
            raise Refusal("topic_bad", machine=settings.id, topic=settings.topic) from error
        if "%prefix%" not in settings.full_topic or any(sign in settings.full_topic for sign in "+#\0"):
            raise Refusal("topic_bad", machine=settings.id, topic=settings.full_topic)
        if surroundings.bus is None:
            raise Refusal("broker_missing", machine=settings.id)
        patterns = [device_topic(settings.full_topic, settings.topic, prefix, "#") for prefix in ("stat", "tele")]
        engine = Relay(settings.full_topic, settings.topic, settings.lease_s)
        return Hosted(engine, MqttDevice(surroundings.bus, patterns), host_death="relay_timer")
