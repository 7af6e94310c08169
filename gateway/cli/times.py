"""Points in time as a person types them: ``-10m``, ``2026-01-31T12:00:00Z``, seconds since 1970."""

from __future__ import annotations

import datetime as dt
import re
import time

_AGO = re.compile(r"-(\d+(?:\.\d+)?)([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}

FORMS = "-10m (ago: s, m, h, d), 2026-01-31T12:00:00Z or seconds since 1970"


def point_ms(text: str) -> int | None:
    """Milliseconds since 1970; None for what is none of `FORMS`. A time without an offset is this machine's."""
    ago = _AGO.fullmatch(text)
    if ago:
        return round((time.time() - float(ago[1]) * _SECONDS[ago[2]]) * 1000)
    for parse in (float, lambda iso: dt.datetime.fromisoformat(iso).astimezone().timestamp()):
        try:
            seconds = parse(text)
        except ValueError:
            continue
        if 0 <= seconds < 1e11:
            return round(seconds * 1000)
    return None
