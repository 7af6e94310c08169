"""How the work of a log moves between processes at a size that no test has: `python -m tools.simulate [--seed N]`.

The rule is the product's own (`share_out`, which whoever leads the group calls; `part_of`). Around it, a model of Kafka's
group: who joins or leaves begins a round, a round ends when all members have joined again, one that died is missed when its
session ends. What is counted: how evenly items lie, how many parts a change moves, and for how long a part has nobody.

Times of the model are not measured here; they are named below and are the product's settings, or guesses that are said to
be guesses.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from statistics import mean

import click

from streams.core.work import PARTS, part_of
from streams.kafka.membership import Member, share_out

SESSION_S = 10.0
"""The setting's default: how long a process that died is not missed."""

JOIN_S = 1.0
"""A guess: from the begin of a round to its end. Members hear of it with their next heartbeat, a twelfth of a session later
at most."""

TAKE_S = 0.2
"""A guess for each item that is begun: its journal is claimed and read."""

TAKEN_AT_ONCE = 8
"""A guess: items that a process begins side by side."""


@dataclass(slots=True)
class Group:
    """Members by name, as the leader sees them, and what they have been given."""

    members: dict[str, Member] = field(default_factory=dict)
    rounds: int = 0
    moved: int = 0
    """Parts that went from one to another."""
    without: Counter[int] = field(default_factory=Counter)
    """Rounds that a part had nobody in."""

    def settle(self) -> int:
        """Rounds until nothing moves any more."""
        before = self.rounds
        while True:
            given, shared = share_out(self.members)
            self.rounds += 1
            lost = False
            for name, parts in given.items():
                old = self.members[name]
                self.moved += len(set(parts) - set(old.held))
                lost = lost or bool(set(old.held) - set(parts))
                self.members[name] = Member(old.address, tuple(parts), shared.round, old.works)
            for part, owner in enumerate(shared.owners):
                if not owner:
                    self.without[part] += 1
            if not lost:  # who has lost a part joins again, and nobody else has a reason to
                return self.rounds - before

    def join(self, name: str) -> None:
        self.members[name] = Member(name)

    def leave(self, name: str) -> set[int]:
        """What it had."""
        return set(self.members.pop(name).held)

    @property
    def counts(self) -> list[int]:
        return [len(member.held) for member in self.members.values()]


def items(count: int, randomness: random.Random) -> dict[str, float]:
    """Names and weights: a few items are most of the work (Pareto, the heaviest fifth has some four fifths)."""
    return {f"delivery 000000000000 us-east-1 s{number}": randomness.paretovariate(1.16) for number in range(count)}


@click.command()
@click.option("--seed", type=int, default=1, show_default=True)
def main(seed: int) -> None:
    """Prints what happens to 200, 2,000 and 20,000 items on 4, 16 and 64 processes, and beyond."""
    randomness = random.Random(seed)
    click.echo(f"{PARTS} parts; seed {seed}\n")
    click.echo("| items | processes | parts each | heaviest process / mean | with the heaviest item alone |")
    click.echo("|---|---|---|---|---|")
    for count in (200, 2_000, 20_000):
        weights = items(count, randomness)
        for size in (4, 16, 64, 100):
            click.echo(_even(weights, size))
    click.echo("\n| processes | change | rounds | parts moved | items that begin anew | longest pause of an item, s |")
    click.echo("|---|---|---|---|---|---|")
    for size in (4, 16, 64):
        for line in _changes(2_000, size, randomness):
            click.echo(line)


def _even(weights: dict[str, float], size: int) -> str:
    group = Group()
    for number in range(size):
        group.join(f"p{number:03d}")
    group.settle()
    of_part = Counter[int]()
    for name, weight in weights.items():
        of_part[part_of(name)] += weight  # type: ignore[assignment]  # a Counter counts in halves as well
    loads = [sum(of_part[part] for part in member.held) for member in group.members.values()]
    bound = max(max(weights.values()) / mean(loads), 1.0)
    spread = f"{min(group.counts)} to {max(group.counts)}"
    return f"| {len(weights):,} | {size} | {spread} | {max(loads) / mean(loads):.2f} | {bound:.2f} |"


def _changes(count: int, size: int, randomness: random.Random) -> list[str]:
    names = list(items(count, randomness))
    per_part = Counter(part_of(name) for name in names)
    lines = []

    def line(change: str, rounds: int, moved: set[int] | int, pause_s: float, begun: int) -> None:
        parts = moved if isinstance(moved, int) else len(moved)
        lines.append(f"| {size} | {change} | {rounds} | {parts} | {begun:,} | {pause_s:.1f} |")

    def begun(parts: set[int]) -> int:
        return sum(per_part[part] for part in parts)

    def taking_s(parts: set[int], takers: int) -> float:
        """The last of these parts' items has begun, where as many processes take their share of them."""
        each = -(-begun(parts) // max(1, min(takers, len(parts))))
        return TAKE_S * -(-each // TAKEN_AT_ONCE)

    group = Group()
    for number in range(size):
        group.join(f"p{number:03d}")
    group.settle()

    # One dies: nobody misses it for a session.
    lost = group.leave("p000")
    group.moved = 0
    rounds = group.settle()
    line("one is killed", rounds, group.moved, SESSION_S + rounds * JOIN_S + taking_s(lost, size - 1), begun(lost))

    # One comes: what goes over is ended by whoever has it, and given on in the round after.
    before = {name: set(member.held) for name, member in group.members.items()}
    group.moved = 0
    group.without.clear()
    group.join("p999")
    rounds = group.settle()
    gone = {part for name, held in before.items() for part in held - set(group.members[name].held)}
    idle = max(group.without.values(), default=0)
    line("one comes", rounds, group.moved, idle * JOIN_S + taking_s(gone, 1), begun(gone))

    # All are stopped in order and started again, one after the other.
    group.moved = 0
    before_rounds = group.rounds
    total, longest_s = 0, 0.0
    for name in list(group.members):
        lost = group.leave(name)
        rounds = group.settle()
        total += begun(lost)
        longest_s = max(longest_s, rounds * JOIN_S + taking_s(lost, size - 1))
        held = {other: set(member.held) for other, member in group.members.items()}
        group.join(name)
        group.without.clear()
        group.settle()
        back = {part for other, parts in held.items() for part in parts - set(group.members[other].held)}
        total += begun(back)
        longest_s = max(longest_s, max(group.without.values(), default=0) * JOIN_S + taking_s(back, 1))
    line("all, one after the other", group.rounds - before_rounds, group.moved, longest_s, total)

    # Half of them are gone at once.
    killed = [name for place, name in enumerate(group.members) if place % 2]
    gone = set().union(*(group.leave(name) for name in killed))
    group.moved = 0
    rounds = group.settle()
    line(
        "half are killed",
        rounds,
        group.moved,
        SESSION_S + rounds * JOIN_S + taking_s(gone, len(group.members)),
        begun(gone),
    )
    return lines


if __name__ == "__main__":
    main()
