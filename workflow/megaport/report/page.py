"""One self-contained HTML page from the facts of every model."""

from collections.abc import Sequence
from pathlib import Path

from jinja2 import Environment, StrictUndefined

from megaport.report.model import ModelFacts

MARKS = {"passed": "✓", "failed": "✗", "not applicable": "n/a"}


def render_page(models: Sequence[ModelFacts], template: Path) -> str:
    """HTML with everything inside it: no script, no request, the same bytes for the same facts."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["mib"] = lambda size: f"{size / 2**20:,.1f} MiB"
    page = environment.from_string(template.read_text(encoding="utf-8"))
    return page.render(models=models, marks=MARKS)
