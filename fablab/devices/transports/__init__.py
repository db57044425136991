"""The only files that open something: one transport each, all of the shape `Transport` of the engine contract."""
