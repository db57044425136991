"""The one function that makes a text of ours in the reader's language; typed, which the library's is not."""

from typing import Any

import flask_babel


def gettext(text: str, /, **values: Any) -> str:
    """The text in the language of the request, with `%(name)s` filled in."""
    return str(flask_babel.gettext(text, **values))
