"""What is wrong with a checkpoint, a row a fault, and what the error must say of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from megaport.checkpoint.model import CheckpointMismatchError
from megaport.errors import MegaportError
from support.megatron_model import Model
from support.reading import TINY, refused


@dataclass(frozen=True)
class Fault:
    """`model` is refused in this form (see `opened`) with an error that has all of `said` in it."""

    said: tuple[str, ...]
    error: type[MegaportError]
    model: Model
    form: dict[str, Any]

    def assert_named(self, folder: Path) -> None:
        message = refused(folder, self.model, self.error, **self.form)
        assert [part for part in self.said if part not in message] == [], message


def fault(
    what: str,
    *said: str,
    error: type[MegaportError] = CheckpointMismatchError,
    model: Model = TINY,
    **form: Any,
) -> Any:
    """A parameter: `what` is wrong in a form."""
    return pytest.param(Fault(said, error, model, form), id=f"{form['layout']}: {what}")
