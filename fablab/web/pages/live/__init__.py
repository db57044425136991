"""Live: the stream of hints that open pages listen to."""
