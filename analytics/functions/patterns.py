"""Regular expressions: Java's, as far as Python's `re` says the same, and SQL's SIMILAR TO."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from functools import lru_cache

PATTERNS_MAX = 256
"""Compiled patterns that are remembered; a program has few."""

_JAVA_CLASSES = {
    "Lower": "a-z", "Upper": "A-Z", "ASCII": "\\x00-\\x7f", "Alpha": "a-zA-Z", "Digit": "0-9", "Alnum": "a-zA-Z0-9",
    "Punct": re.escape("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"), "Blank": " \\t", "XDigit": "0-9a-fA-F", "Space": "\\s",
}  # fmt: skip
_NAMED_CLASSES = {
    "ALPHA": "a-zA-Z", "UPPER": "A-Z", "LOWER": "a-z", "DIGIT": "0-9", "ALNUM": "a-zA-Z0-9", "SPACE": " ",
    "WHITESPACE": "\\s",
}  # fmt: skip


_JAVA = re.compile(
    r"\\Q(?P<literal>.*?)(?:\\E|$)|\\(?P<sign>[pP])(?P<name>\{\w+\}|\w)|\\k<(?P<back>\w+)>|\\(?P<char>.)"
    r"|\(\?<(?P<group>[A-Za-z]\w*)>|(?P<open>\[\^?\]?)|(?P<close>\])|(?P<and>&&)",
    re.DOTALL,
)
"""What Java writes in another way than Python."""
_JAVA_CHARS = {
    "Z": "(?=\\n?\\Z)",
    "z": "\\Z",
    "h": " \\t\\xa0\\u1680\\u180e\\u2000-\\u200a\\u202f\\u205f\\u3000",
    "e": "\\x1b",
}


@lru_cache(PATTERNS_MAX)
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern in Java's syntax. Raises `ValueError`."""
    parts, inside, end = [], False, 0
    for found in _JAVA.finditer(pattern):
        parts.append(pattern[end : found.start()])
        end = found.end()
        if found["open"] and not inside:
            inside = True
            parts.append(found[0])
        elif found["open"] or (found["and"] and inside):
            what = "a class within a class" if found["open"] else "&& between classes"
            raise ValueError(f"{pattern!r} has {what}, which is not supported: write one class of characters")
        elif found["close"]:
            inside = False
            parts.append("]")
        else:
            parts.append(_java(found, pattern, inside))
    try:
        return re.compile("".join([*parts, pattern[end:]]))
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None


def _java(found: re.Match[str], pattern: str, inside: bool) -> str:
    """A part of a pattern in Python's words; `inside` a class of characters."""
    if found["literal"] is not None:
        return re.escape(found["literal"])
    if found["back"]:
        return f"(?P={found['back']})"
    if found["group"]:
        return f"(?P<{found['group']}>"
    if found["char"]:
        known = _JAVA_CHARS.get(found["char"])
        if known is None or (inside and found["char"] in "Zz"):
            return found[0]
        return known if inside or found["char"] != "h" else f"[{known}]"
    if found["and"]:
        return found[0]
    name = found["name"].strip("{}")
    members = _JAVA_CLASSES.get(name.removeprefix("Is"))
    if members is None or (inside and found["sign"] == "P"):
        raise ValueError(
            f"{pattern!r} has {found[0]}, which is not supported: expected {', '.join(_JAVA_CLASSES)} in \\p{{…}}"
        )
    return members if inside else f"[{'^' if found['sign'] == 'P' else ''}{members}]"


def initcap(text: str) -> str:
    """The first letter of every word large, the others small; a word is letters and digits."""
    return re.sub(r"[^\W_]+", lambda word: word[0][:1].upper() + word[0][1:].lower(), text)


def first(text: str, pattern: str) -> str | None:
    found = compiled(pattern).search(text)
    return None if found is None else found[0]


def replace(text: str, pattern: str, replacement: str, start: int, occurrence: int) -> str:
    """`start` counts from 1; `occurrence` 0 replaces all."""
    if start < 1:
        raise ValueError(f"REGEX_REPLACE begins at 1 or later, not at {start}")
    if occurrence < 0:
        raise ValueError(f"REGEX_REPLACE takes an occurrence of 0 (all) or more, not {occurrence}")
    if start > len(text):
        return text
    expression, template = compiled(pattern), _replacement(replacement)
    head, tail = text[: start - 1], text[start - 1 :]
    if occurrence == 0:
        with _fitting():
            return head + expression.sub(template, tail)
    for number, match in enumerate(expression.finditer(tail), 1):
        if number == occurrence:
            with _fitting():
                return head + tail[: match.start()] + match.expand(template) + tail[match.end() :]
    return text


@contextlib.contextmanager
def _fitting() -> Iterator[None]:
    try:
        yield
    except (re.error, IndexError) as error:
        raise ValueError(f"the replacement does not fit the pattern: {error}") from None


@lru_cache(PATTERNS_MAX)
def _replacement(text: str) -> str:
    """Java's ``$1`` and ``\\$`` in Python's words."""
    result, index = [], 0
    while index < len(text):
        char = text[index]
        if char == "\\" and index + 1 < len(text):
            result.append(text[index + 1].replace("\\", "\\\\"))
            index += 2
            continue
        group = re.match(r"\$(\d|\{\w+\})", text[index:])
        if group:
            result.append(f"\\g<{group[1].strip('{}')}>")
            index += len(group[0])
            continue
        result.append("\\\\" if char == "\\" else char)
        index += 1
    return "".join(result)


def similar(text: str, pattern: str, escape: str) -> bool:
    """``text SIMILAR TO pattern``; `escape` is empty where there is none."""
    return _similar(pattern, escape).fullmatch(text) is not None


@lru_cache(PATTERNS_MAX)
def _similar(pattern: str, escape: str) -> re.Pattern[str]:
    translated = translate(pattern, escape)
    try:
        return re.compile(translated, re.DOTALL)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no pattern of SIMILAR TO: {error}") from None


def translate(pattern: str, escape: str) -> str:
    """A pattern of SIMILAR TO as a regular expression: ``%``, ``_``, ``| * + ? {} () []``, and ``[a-z^aeiou]``, which is a
    to z without vowels. Raises `ValueError`."""
    if len(escape) > 1:
        raise ValueError(f"ESCAPE takes one character, not {escape!r}")
    result, index = [], 0
    while index < len(pattern):
        char = pattern[index]
        if escape and char == escape:
            if index + 1 == len(pattern):
                raise ValueError(f"nothing follows the escape character at the end of {pattern!r}")
            result.append(re.escape(pattern[index + 1]))
            index += 2
        elif char == "[":
            end = pattern.find("]", index + 1)
            if pattern[index + 1 : index + 2] == ":" or pattern.startswith("[[:", index):
                end = pattern.find("]", pattern.find(":]", index) + 2)
            if end < 0:
                raise ValueError(f"a [ is not closed in {pattern!r}")
            result.append(_enumeration(pattern[index + 1 : end], escape))
            index = end + 1
        else:
            result.append(
                {"%": ".*", "_": "."}.get(char) or (char if char in "|*+?{}(),0123456789" else re.escape(char))
            )
            index += 1
    return "".join(result)


def _enumeration(inside: str, escape: str) -> str:
    negated = inside.startswith("^")
    body = inside[1:] if negated else inside
    wanted, _, excluded = body.partition("^")
    excluded = f"(?![{_members(excluded, escape)}])" if excluded else ""
    return f"{excluded}[{'^' if negated else ''}{_members(wanted, escape)}]"


def _members(text: str, escape: str) -> str:
    for name, inside in _NAMED_CLASSES.items():
        text = text.replace(f"[:{name}:]", inside).replace(f"[:{name.lower()}:]", inside)
    if escape:
        text = re.sub(re.escape(escape) + "(.)", lambda found: re.escape(found[1]), text)
    return text.replace("[", "\\[").replace("&&", "&")


def substring(text: str, pattern: str, escape: str) -> str | None:
    """SUBSTRING(text SIMILAR pattern ESCAPE escape): `pattern` is three parts with `escape` and ``"`` between them; what
    matches the middle one, where the whole matches."""
    before, middle, after = parts(pattern, escape)
    found = re.fullmatch(f"(?:{before})({middle})(?:{after})", text, re.DOTALL)
    return None if found is None else found[1]


@lru_cache(PATTERNS_MAX)
def parts(pattern: str, escape: str) -> tuple[str, str, str]:
    """The three parts of a pattern of SUBSTRING SIMILAR, each as a regular expression. Raises `ValueError`."""
    found = pattern.split(f'{escape}"')
    if len(escape) != 1 or len(found) != 3:
        raise ValueError(f'the pattern has three parts with {escape}" between them, and {pattern!r} has not')
    before, middle, after = (translate(part, escape) for part in found)
    return before, middle, after
