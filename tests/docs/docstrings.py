"""Docstrings as Markdown."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass
from typing import Any

_ROLE = re.compile(r":\w+:`~?(?:[\w.]+\.)?(\w+)`")


@dataclass(frozen=True)
class Parameter:
    """A parameter as its docstring describes it."""

    name: str
    text: str
    templated: bool
    default: str


def markdown(text: str) -> str:
    """Return reStructuredText as far as our docstrings use it, as Markdown on one line."""
    text = _ROLE.sub(r"`\1`", text)
    return " ".join(text.replace("``", "`").split())


def cell(text: str) -> str:
    """Return text that can stand in a table."""
    return markdown(text).replace("|", "\\|")


def summary(thing: Any) -> str:
    """Return what a docstring says before its parameters."""
    doc = inspect.getdoc(thing) or ""
    kept: list[str] = []
    for line in doc.splitlines():
        if line.startswith((":param", ":raises", ":returns", "..")):
            break
        kept.append(line)
    paragraphs = "\n".join(kept).strip().split("\n\n")
    return "\n\n".join(markdown(paragraph) for paragraph in paragraphs)


def fields(thing: Any, kind: str = "param") -> dict[str, str]:
    """Return the texts of a docstring's `:param x:` or `:raises x:` lines."""
    found: dict[str, str] = {}
    name = ""
    for line in (inspect.getdoc(thing) or "").splitlines():
        begin = re.match(rf"^:{kind} (\w+): ?(.*)", line)
        if begin:
            name = begin[1]
            found[name] = begin[2]
        elif name and line.startswith("    "):
            found[name] += " " + line.strip()
        else:
            name = ""
    return found


def parameters(cls: Any) -> list[Parameter]:
    """Return the parameters that a class's docstring describes, in its order."""
    known: dict[str, inspect.Parameter] = {}
    for base in reversed(cls.__mro__[:-1]):
        known.update(inspect.signature(base.__init__).parameters)
    result = []
    for name, text in fields(cls).items():
        default = shown_default(known[name].default)
        if "(default: Airflow's" in text:
            # What stands in the signature is what this Airflow is configured to.
            default = "Airflow's"
        templated = "(templated)" in text
        text = re.sub(r"\s*\(default[^()]*(?:\([^()]*\)[^()]*)*\)", "", text.replace("(templated)", ""))
        result.append(Parameter(name, cell(text).strip().rstrip("."), templated, default))
    return result


def shown_default(value: Any) -> str:
    """Return a default for people."""
    if value is inspect.Parameter.empty:
        return "required"
    if hasattr(value, "total_seconds"):
        seconds = value.total_seconds()
        for unit, length in (("hours", 3600), ("minutes", 60)):
            if seconds % length == 0 and seconds >= length:
                return f"{seconds / length:g} {unit}"
        return f"{seconds:g} seconds"
    return "" if value is None else f"`{value!r}`".replace("'", '"')


def signature(function: Any) -> str:
    """Return a call for people, without types."""
    try:
        names = []
        for parameter in inspect.signature(function).parameters.values():
            if parameter.name == "self":
                continue
            text = ("**" if parameter.kind is parameter.VAR_KEYWORD else "") + parameter.name
            if parameter.default is not parameter.empty:
                text += f"={parameter.default!r}"
            names.append(text)
    except ValueError:
        return ""
    return f"({', '.join(names)})"
