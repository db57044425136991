"""The metadata of every table, found by loading each `tables.py` of the package, and how our types are written down."""

import importlib
import importlib.util
import pkgutil
from typing import Any, Literal

from sqlalchemy import MetaData

import fablab
from fablab.db import Base, Json, UtcDateTime

MODULES = ("fablab.audit", "fablab.notices")
"""Modules with a table that are not named tables.py."""


def _load() -> MetaData:
    """Import every package's `tables` module; those of packages that come later are found without a change here."""
    for package in pkgutil.iter_modules(fablab.__path__, "fablab."):
        if package.ispkg and any(item.name == "tables" for item in pkgutil.iter_modules(_path(package.name))):
            importlib.import_module(f"{package.name}.tables")
    for module in MODULES:
        importlib.import_module(module)
    return Base.metadata


def _path(name: str) -> Any:
    spec = importlib.util.find_spec(name)
    return [] if spec is None else spec.submodule_search_locations


def render_item(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """Write our own types as plain ones, so that an old migration does not depend on today's code."""
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    if kind == "type" and isinstance(item, Json):
        return "sa.Text()"
    return False


metadata = _load()
