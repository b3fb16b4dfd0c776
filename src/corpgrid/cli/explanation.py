"""Why something does not run, in each style: a sentence, then what stands in the way and what would help."""

from __future__ import annotations

import click

from corpgrid.cli.render import Renderer, Style, to_json
from corpgrid.domain.answers import Explanation
from corpgrid.sdk.text import printable


def print_explanation(renderer: Renderer, found: Explanation) -> None:
    """Print it; ``--quiet`` prints the sentence alone."""
    if renderer.style is Style.JSON:
        obstacles = [obstacle._asdict() for obstacle in found.obstacles]
        click.echo(to_json({"summary": found.summary, "obstacles": obstacles}))
        return
    click.echo(printable(found.summary))
    for obstacle in found.obstacles:
        devices = f"{obstacle.devices} device(s): " if obstacle.devices else ""
        renderer.line(printable(f"  - {devices}{obstacle.detail or obstacle.reason}"))
        if obstacle.remedy:
            renderer.line(printable(f"    -> {obstacle.remedy}"))
