"""What every layer raises when it will not or cannot: a stable code with data. The words are `fablab.sentences`'."""

from typing import Any


class Refusal(Exception):
    """Something was refused or cannot be done. `code` is stable; `data` is what its sentence names."""

    def __init__(self, code: str, /, **data: Any) -> None:
        super().__init__(code, data)
        self.code = code
        self.data = data
