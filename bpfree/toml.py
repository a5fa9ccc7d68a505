"""TOML texts: where a field is set, and values written."""

import json
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any


def line_of(text: str, place: Sequence[str]) -> int:
    """The line of a study file that sets a field; where it is missing, that of what should hold it, or 1."""
    table, paths = "", []
    entries: Counter[str] = Counter()
    for line in text.split("\n"):
        if header := re.match(r"\s*(\[\[?)\s*([\w.-]+)\s*\]", line):
            table = header[2]
            if header[1] == "[[":
                table = f"{header[2]}.{entries[header[2]]}"
                entries[header[2]] += 1
            paths.append(f"{table}.")
        elif key := re.match(r"""\s*["']?([\w.-]+)["']?\s*=""", line):
            paths.append(f"{table}.{key[1]}.".removeprefix("."))
        else:
            paths.append("")
    for length in range(len(place), 0, -1):
        wanted = ".".join(place[:length]) + "."
        for number, path in enumerate(paths, 1):
            if path.startswith(wanted):
                return number
    return 1


def toml_value(value: Any) -> str:
    """A value in TOML's syntax, which is JSON's for all but tables and the character 7F."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml_value(item)}" for key, item in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def broken_value(value: Any) -> str:
    """As `toml_value`, but a list of tables has one a line."""
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        return "[\n" + "".join(f"    {toml_value(item)},\n" for item in value) + "]"
    return toml_value(value)
