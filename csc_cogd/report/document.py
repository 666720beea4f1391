"""HTML documents of one file, from the templates beside this module: without network access and other scripts."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Mapping
from html import escape
from importlib import resources
from pathlib import PurePath
from string import Template
from typing import Any

import numpy as np


def document(name: str, title: str, parts: Mapping[str, str], *, images: str = "data:") -> bytes:
    """Return the page that the template `name`.html makes of its parts, with the style and the script `name`.js within it.

    The parts are HTML; the title is any text. The page's content security policy forbids
    loading anything but what `images` are, and running other scripts.
    """
    title = text(title)
    script = _template(f"{name}.js")
    checksum = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    body, style = fill(f"{name}.html", {"title": title, **parts}), _template("report.css")
    head = {"title": title, "style": style, "script": script, "checksum": checksum, "images": images}
    return to_utf8(fill("document.html", head | {"body": body}))


def fill(template: str, parts: Mapping[str, str]) -> str:
    """Return a template with HTML in the places that it names."""
    return Template(_template(template)).substitute(parts)


def section(title: str, content: str, kind: str = "") -> str:
    """Return content under a heading, nothing if there is no content."""
    return f'<section><h2>{title}</h2><div class="{kind}">{content}</div></section>' if content else ""


def text(value: Any) -> str:
    """Escape a value for HTML text and attributes."""
    return escape(str(value))


def to_utf8(content: str) -> bytes:
    """Return text as UTF-8; undecodable bytes of file names are written as escapes."""
    return content.encode("utf-8", "backslashreplace")


def plain(value: Any) -> Any:
    """Return what JSON can hold: NaN and infinities are None, NumPy's scalars are Python's, paths are strings."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return str(value) if isinstance(value, PurePath) else value


def _template(name: str) -> str:
    return (resources.files(__package__) / name).read_text("utf-8")
