"""What the demo shows: the delays as a table and a chart, the reconciliation, the differences."""

from __future__ import annotations

from collections import defaultdict

from rich import box
from rich.bar import Bar
from rich.console import Console
from rich.table import Table

from gateway.demo.reconcile import Reconciliation, Rows

_CHART_WIDTH = 60


def carriers(console: Console, hourly: Rows) -> None:
    """Hourly windows summed up by airline: flights, and the mean delay weighted by those that left."""
    flights: dict[str, int] = defaultdict(int)
    delays: dict[str, float] = defaultdict(float)
    weights: dict[str, int] = defaultdict(int)
    worst: dict[str, tuple[float, str]] = {}
    for (hour, carrier), (name, count, departed, mean) in hourly.items():
        airline = f"{carrier}  {name}"
        flights[airline] += count
        if mean is not None:
            delays[airline] += mean * departed
            weights[airline] += departed
            worst[airline] = max(worst.get(airline, (mean, "")), (mean, f"{hour:%b %d %H:%M}"))
    table = Table(
        title="Departures of 2013 from New York, from hourly windows", title_justify="left", box=box.SIMPLE_HEAD
    )
    for column, side in (
        ("airline", "left"),
        ("flights", "right"),
        ("mean delay", "right"),
        ("worst hour (UTC)", "right"),
    ):
        table.add_column(column, justify="right" if side == "right" else "left")
    for airline in sorted(flights, key=lambda one: -flights[one]):
        mean = f"{delays[airline] / weights[airline]:.1f} min" if weights[airline] else ""
        peak = f"{worst[airline][0]:,.0f} min  {worst[airline][1]}" if airline in worst else ""
        table.add_row(airline, f"{flights[airline]:,}", mean, peak)
    console.print(table)


def chart(console: Console, hourly: Rows) -> None:
    """The mean departure delay by hour of the day, in New York's winter time."""
    sums: dict[int, float] = defaultdict(float)
    weights: dict[int, int] = defaultdict(int)
    for (hour, _), (_, _, departed, mean) in hourly.items():
        if mean is not None:
            local = (hour.hour - 5) % 24
            sums[local] += mean * departed
            weights[local] += departed
    hours = sorted(weights)
    if not hours:
        return
    means = {hour: sums[hour] / weights[hour] for hour in hours}
    longest = max(*means.values(), 1.0)
    title = "Mean departure delay by scheduled hour in New York (UTC - 5)"
    table = Table(title=title, title_justify="left", box=None, show_header=False)
    for hour, mean in means.items():
        table.add_row(
            f"  {hour:02d} h", Bar(longest, 0, max(mean, 0.0), width=_CHART_WIDTH, color="cyan"), f"{mean:.1f} min"
        )
    console.print(table)


def weather(console: Console, found: Rows) -> None:
    table = Table(title="Batch SQL over the log, joined with the weather", title_justify="left", box=box.SIMPLE_HEAD)
    table.add_column("visibility")
    table.add_column("flights", justify="right")
    table.add_column("mean delay", justify="right")
    for (visibility,), (flights, mean) in sorted(found.items(), key=lambda row: -row[1][1]):
        table.add_row(visibility, f"{flights:,}", f"{mean:.1f} min")
    console.print(table)


def reconciliation(console: Console, done: Reconciliation) -> None:
    table = Table(title="Reconciliation", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("", "compared", "seen"):
        table.add_column(column)
    for what, shown, agreed in done.lines:
        table.add_row("[green]equal[/]" if agreed else "[red]DIFFERS[/]", what, shown)
    console.print(table)
    if done.agreed:
        return
    differences = Table(title="Differences", title_justify="left", box=box.SIMPLE_HEAD)
    for column in ("compared", "key", "expected", "found"):
        differences.add_column(column, overflow="fold")
    for one in done.differences:
        differences.add_row(one.what, one.key, one.expected, one.found)
    console.print(differences)
