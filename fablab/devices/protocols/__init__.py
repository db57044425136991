"""Protocol engines without I/O: bytes in, events out; intents in, bytes out. They are told the time."""
