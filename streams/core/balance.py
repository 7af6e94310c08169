"""Who is to read which shard: fair, and with few changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence


def balance(shards: Sequence[int], owners: Mapping[int, str], members: Iterable[str]) -> dict[int, str]:
    """A member for every shard. Members' counts differ by one at most; as many shards as that allows stay with their
    owner. Empty where there is no member."""
    names = sorted(members)
    if not names:
        return {}
    kept: dict[str, list[int]] = {name: [] for name in names}
    for shard in shards:
        owner = owners.get(shard)
        if owner in kept:
            kept[owner].append(shard)
    least, more = divmod(len(shards), len(names))
    # Who has most may keep one more than the others.
    fullest = sorted(names, key=lambda name: (-len(kept[name]), name))
    room = {name: least + (place < more) for place, name in enumerate(fullest)}
    target = {shard: name for name in names for shard in kept[name][: room[name]]}
    left = Counter(room)
    left.subtract(Counter(target.values()))
    free = iter([name for name in names for _ in range(left[name])])
    for shard in shards:
        if shard not in target:
            target[shard] = next(free)
    return target
