r"""Java's regular expressions, as the service models write them, for Python.

Java's `matches` means the whole string, its \d and \w are ASCII, it has \p{L} (any letter) where Python's `re` has
nothing, and it writes characters beyond the first 65,536 as two surrogates.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

_SUPPLEMENTARY_JAVA = r"\uD800\uDC00-\uDBFF\uDFFF"
_SUPPLEMENTARY = r"\U00010000-\U0010FFFF"
_CATEGORY = re.compile(r"\\p\{(\w+)\}")

_ASSIGNED_END = 0x32400
"""Beyond this code point no letter, number, separator, symbol or punctuation mark is assigned."""


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(python(pattern))


@cache
def python(pattern: str) -> str:
    """The same pattern for `re.search`."""
    pattern = pattern.replace(_SUPPLEMENTARY_JAVA, _SUPPLEMENTARY)
    # Only used within brackets in any model; elsewhere brackets have to be added.
    outside = re.sub(r"\[(?:\\.|[^\]\\])*\]", "", pattern)
    bracketed = _CATEGORY.search(outside) is None
    pattern = _CATEGORY.sub(lambda found: _class(found[1]) if bracketed else f"[{_class(found[1])}]", pattern)
    return rf"(?a)\A(?:{pattern})\Z"


@cache
def _class(name: str) -> str:
    """The characters of a Unicode general category, or of Java's Print, as ranges for a bracket expression."""
    if name == "Print":
        return r"\x20-\x7e"
    assert len(name) == 1, f"no such character class here: {name}"
    assert name in "LNPSZ", f"category {name} has characters beyond U+{_ASSIGNED_END:X}"
    ranges: list[list[int]] = []
    for code in range(_ASSIGNED_END):
        if unicodedata.category(chr(code))[0] == name:
            if ranges and ranges[-1][1] == code - 1:
                ranges[-1][1] = code
            else:
                ranges.append([code, code])
    return "".join(rf"\U{first:08x}-\U{last:08x}" for first, last in ranges)
