"""One self-contained HTML page from the facts of every model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from megaport.report.model import ModelFacts, needs_attention

MARKS = {"passed": "✓", "failed": "✗", "not applicable": "·"}


def render_page(models: Sequence[ModelFacts], template: Path) -> str:
    """HTML with everything inside it: no script, no request, the same bytes for the same facts.

    Models whose parity failed come first.
    """
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"mib": mebibytes, "share": share}
    environment.tests["serious"] = needs_attention
    page = environment.from_string(template.read_text(encoding="utf-8"))
    ordered = sorted(models, key=lambda model: model.outcome != "failed")
    return page.render(models=ordered, marks=MARKS)


def mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def share(measure: Mapping[str, Any]) -> float | None:
    """What was seen as a percentage of its limit, 0 to 100; None where nothing may be drawn."""
    seen, limit = measure["seen"], measure["limit"]
    if not measure["smaller_is_better"] or isinstance(seen, str) or isinstance(limit, str):
        return None
    filled = float(seen) / limit if limit else float(seen > 0)
    return 100 * min(1.0, max(0.0, filled))
