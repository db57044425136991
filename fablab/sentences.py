"""Refusals: a stable code with data. Sentences for people are made from them at the edge, in the reader's language."""

from typing import Any


class Refusal(Exception):
    """Something was refused or cannot be done. `code` is stable; `data` is what its sentence names."""

    def __init__(self, code: str, **data: Any) -> None:
        super().__init__(code, data)
        self.code = code
        self.data = data
