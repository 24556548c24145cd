"""`vqmeter report RESULT...`: one HTML page, or a plot, of results."""

from __future__ import annotations

import sys
from typing import Any

import click

from vqmeter.cli import complain
from vqmeter.cli.options import Command
from vqmeter.errors import UsageError

_DEFAULT = "report.html"


@click.command("report", cls=Command)
@click.argument("results", metavar="RESULT...", nargs=-1, required=True)
@click.option("-o", "--output", "outputs", multiple=True, metavar="FILE",
              help="Write .html, .png or .svg; repeatable; '-' is the page on stdout. Default: report.html.")  # fmt: skip
@click.option("--title", default="Video quality report", show_default=True, metavar="TEXT", help="What stands above it.")
@click.option("--score", "scores", multiple=True, metavar="KEY", help="Only these scores; repeatable. Default: all.")
@click.option("--frames", type=click.IntRange(min=0), default=3, show_default=True, metavar="N",
              help="Show the N worst frames of every clip as pictures.")  # fmt: skip
@click.option("--worst-by", metavar="KEY", help="The score that decides which are worst; default: the first one.")
@click.option("--no-pictures", is_flag=True, help="No pictures; the files that were measured are not read again.")
@click.option("-q", "--quiet", is_flag=True, help="Errors only on stderr.")
@click.option("--debug", is_flag=True, help="Show a traceback where something fails.")
def command(results: tuple[str, ...], outputs: tuple[str, ...], **options: Any) -> int:
    """Show results of fr and nr (.json, .ndjson, .csv, .pooled.csv; '-' is stdin) as one self-contained HTML page.

    Curves with zoom, statistics, distributions, the worst frames as pictures, and how it was measured. PNG and SVG
    hold the curves alone. Clips of all RESULTs stand side by side.
    """
    from vqmeter import writers
    from vqmeter.page import Look, render_page
    from vqmeter.page.plots import check_plots, save_plot
    from vqmeter.page.reading import read_reports

    pages = [path for path in outputs or (_DEFAULT,) if path == "-" or path.lower().endswith((".html", ".htm"))]
    plots = [path for path in outputs if path not in pages]
    check_plots(plots)
    for path in {*pages, *plots} - {"-"}:
        writers.check_writable(path)
    if results.count("-") > 1:
        raise UsageError("stdin can be read once; only one RESULT may be '-'")
    reports = [report for path in results for report in read_reports(path)]
    frames = 0 if options["no_pictures"] else options["frames"]
    look = Look(options["title"], options["scores"], frames, options["worst_by"])
    for path in plots:
        save_plot(reports, path, look)
    text = render_page(reports, look, None if options["quiet"] else complain) if pages else ""
    for path in pages:
        if path == "-":
            sys.stdout.write(text)
        else:
            writers.write_whole(path, text)
    if not outputs:
        click.echo(_DEFAULT)
    return 0
