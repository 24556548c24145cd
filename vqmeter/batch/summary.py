"""What a batch says of itself at its end: a table of counts and speed."""

from __future__ import annotations

import io

from vqmeter.batch.running import Tally
from vqmeter.writers.tables import can_say


def render(tally: Tally, encoding: str | None) -> str:
    """The table as text, for a terminal of `encoding`."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    seconds, measured = max(tally.seconds, 1e-9), tally.done + len(tally.failed)
    cells = {"jobs": tally.jobs, "done before": tally.skipped, "done": tally.done, "failed": len(tally.failed),
             "left": tally.left, "frames": tally.frames, "seconds": f"{seconds:.1f}",
             "jobs/s": f"{measured / seconds:.3g}", "frames/s": f"{tally.frames / seconds:.3g}"}  # fmt: skip
    table = Table(box=box.SIMPLE_HEAD if can_say("─", encoding) else box.ASCII2, show_edge=False, pad_edge=False)
    for title in cells:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_row(*map(str, cells.values()))
    out = io.StringIO()
    Console(file=out, width=120, highlight=False, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())
