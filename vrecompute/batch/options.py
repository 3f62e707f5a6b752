"""What models of a driver's `options:` share: unknown keys are errors; no value adds another line to a script."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vrecompute.errors import SiteError
from vrecompute.sites.model import Site

__all__ = ["Name", "Strict", "read_options"]

#: Names as batch systems take them: queues, accounts, several by comma. One line of harmless characters.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.,:@/+-]+$", max_length=255)]


class Strict(BaseModel):
    """Unknown keys are errors.

    `harmless` are options that choose among what the batch system offers: a site file that was found in the working
    directory may give them. Any other could have a job run what its user does not know of, or send it elsewhere.
    """

    harmless: ClassVar[frozenset[str]] = frozenset()
    model_config = ConfigDict(extra="forbid", frozen=True)


def read_options(model: type[BaseModel], site: Site) -> Any:
    """The site's options as the driver's model; SiteError says what is wrong with each."""
    try:
        return model.model_validate(dict(site.options))
    except ValidationError as error:
        wrong = [(_place(e["loc"]), e["msg"].removeprefix("Value error, ")) for e in error.errors()]
        told = "; ".join(f"options{key}: {why}" for key, why in wrong)
        raise SiteError(f"site {site.name!r}: {told}") from error


def _place(steps: tuple[str | int, ...]) -> str:
    """As problems of site files name it: `.directives.add[0]`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
