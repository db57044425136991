"""What a command needs to know of the terminal it runs in."""

import os


def terminal_language() -> str:
    """The reader's language: `fr` where the locale says so, else `en`."""
    locale = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return "fr" if locale.lower().startswith("fr") else "en"
