"""``top``: a live view of a running service."""

import time
from typing import TYPE_CHECKING, Annotated
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

import typer
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from app.commands.shared import fail, print_table
from app.control.readings import Counts, counts_of, rates_between

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT_S = 10
DRIFT = 0.25
"""From here on a drift is shown in red, as the alert has it."""


def top(
    url: Annotated[str, typer.Option(help="Address of the service.")] = "http://127.0.0.1:8000",
    interval: Annotated[float, typer.Option(min=0.2, help="Seconds between two readings.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one table and end.")] = False,
    api_key: Annotated[str | None, typer.Option(envvar="TOP_API_KEY", help="Key that may read /metrics.")] = None,
) -> None:
    """Show what a running service does, second by second.

    The figures are those of /metrics between two readings. Ctrl-C ends it.
    """
    if not url.startswith(("http://", "https://")):
        fail(f"--url is {url!r}; expected http://HOST:PORT")
    before, began = _read(url, api_key), time.monotonic()
    console = Console()
    with Live(console=console, auto_refresh=False, transient=once) as live:
        try:
            while True:
                time.sleep(interval)
                now, ended = _read(url, api_key), time.monotonic()
                table = _table(before, now, ended - began, url)
                if once:
                    break
                live.update(table, refresh=True)
                before, began = now, ended
        except KeyboardInterrupt:
            return
    print_table(table)


def _read(url: str, api_key: str | None) -> dict[tuple[str, str], Counts]:
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    try:
        with urlopen(Request(f"{url.rstrip('/')}/metrics", headers=headers), timeout=TIMEOUT_S) as reply:
            return counts_of(text_string_to_metric_families(reply.read().decode()), with_unknown=True)
    except HTTPError as error:
        error.close()
        fail(f"{url}/metrics answers {error.code}; it may require a key, --api-key")
    except (URLError, OSError, ValueError) as error:
        fail(f"{url} does not answer: {getattr(error, 'reason', error)}")


def _table(
    before: "Mapping[tuple[str, str], Counts]", now: "Mapping[tuple[str, str], Counts]", seconds: float, url: str
) -> Table:
    table = Table(
        "model",
        "version",
        "state",
        "requests/s",
        "failed/s",
        "p50, ms",
        "p99, ms",
        "rows in a batch",
        "queued",
        "drift",
        "device",
        title=url,
    )
    for (model, version), counts in sorted(now.items(), key=lambda each: (each[0][0], int(each[0][1] or 0))):
        rates = rates_between(before.get((model, version), Counts()), counts, seconds)
        drift = Text("") if counts.drift is None else Text(f"{counts.drift:.2f}", "red" if counts.drift > DRIFT else "")
        table.add_row(
            Text(model or "(none serves)"),
            version,
            Text(counts.state, "" if counts.state in {"READY", ""} else "yellow"),
            f"{rates.requests:,.1f}",
            Text(f"{rates.failed:,.1f}", "red" if rates.failed else ""),
            _shown(rates.p50_ms),
            _shown(rates.p99_ms),
            _shown(rates.batch_rows),
            f"{counts.queued:,.0f}",
            drift,
            ", ".join(counts.devices),
        )
    return table


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}"
