"""``python -m benchmarks``: the menu. ``python -m benchmarks NAME…`` measures; ``python -m benchmarks report`` writes
RESULTS.md from what was measured."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import menu, report
from benchmarks.harness import Benchmark, keep, measure, show


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Also write the results there."
)
@click.option("--quick", is_flag=True, help="Scaled down, to see that it works: seconds instead of minutes, not kept.")
def main(names: tuple[str, ...], json_file: Path | None, quick: bool) -> None:
    """Measures NAMES, or `all`; without NAMES, prints the menu. `report` writes RESULTS.md from the kept results.

    Results are kept as benchmarks/results/NAME.json, one a benchmark, the newest."""
    console = Console()
    if not names:
        console.print(_menu())
        return
    if names == ("report",):
        click.echo(f"wrote {report.write()}")
        return
    chosen = list(menu.BENCHMARKS.values()) if names == ("all",) else [_find(name) for name in names]
    results = []
    for benchmark in chosen:
        result = measure(benchmark, quick)
        show(result, console)
        results.append(result)
        if not quick:
            click.echo(f"kept as {keep(result)}", err=True)
    if json_file is not None:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=2) + b"\n")


def _find(name: str) -> Benchmark:
    if name not in menu.BENCHMARKS:
        raise click.BadParameter(f"there is no benchmark {name!r}; there are {', '.join(menu.BENCHMARKS)}")
    return menu.BENCHMARKS[name]


def _menu() -> Table:
    table = Table(title="python -m benchmarks NAME… [--quick] [--json FILE]", title_justify="left")
    table.add_column("name")
    table.add_column("what it measures")
    table.add_column("minutes", justify="right")
    for benchmark in menu.BENCHMARKS.values():
        table.add_row(benchmark.name, benchmark.title, f"{benchmark.minutes:g}")
    table.add_row("all", "everything above, in this order", f"{sum(b.minutes for b in menu.BENCHMARKS.values()):g}")
    table.add_row("report", "writes benchmarks/RESULTS.md from the kept results", "")
    return table


if __name__ == "__main__":
    main(prog_name="python -m benchmarks")
