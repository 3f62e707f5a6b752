"""What `process` may look at of a sample and a source: what its part is filed under, and nothing else.

Of a sample that is whether it is data, its unit, its weight column, its certified list and its metadata. Its name,
cross-section, luminosity and sum of weights, and the address of a file, change without any change of events: they are
given to an analysis that says so (`Analysis.reads_facts`), whose parts are then filed under them as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vrecompute.datasets.dataset import Sample
from vrecompute.errors import AnalysisError, UsageError

__all__ = ["FACTS", "SeenSample", "checked_facts", "facts_read", "undeclared_fact"]

_OF_SAMPLES = frozenset({"name", "cross_section_pb", "luminosity_ifb", "sum_of_weights"})
#: What an analysis may say that it reads.
FACTS = (*sorted(_OF_SAMPLES), "source")


def checked_facts(whose: str, facts: Sequence[str]) -> tuple[str, ...]:
    """The facts as they were declared; UsageError where one is none."""
    given = (facts,) if isinstance(facts, str) else tuple(facts)
    if unknown := [fact for fact in given if fact not in FACTS]:
        raise UsageError(f"{whose}: reads_facts has {unknown[0]!r}; it may have {', '.join(FACTS)}")
    return given


def undeclared_fact(what: str, fact: str) -> AnalysisError:
    """The error of an analysis that reads a fact which its class does not name."""
    return AnalysisError(
        f"`{what}` is read, and parts are not filed under it: one computed for another value would be taken for this. "
        f'Add `reads_facts = ("{fact}",)` to the class; or put the value into `metadata` of the sample'
    )


def facts_read(sample: Sample, source: str, facts: tuple[str, ...]) -> dict[str, Any]:
    """The declared facts with their values, as part of a key."""
    return {fact: source if fact == "source" else getattr(sample, fact) for fact in facts}


class SeenSample(Sample):
    """A sample as an analysis sees it. AnalysisError where it reads a fact that is not among `facts`."""

    @classmethod
    def of(cls, sample: Sample, facts: tuple[str, ...]) -> SeenSample:
        """The same sample, with these facts alone."""
        seen = object.__new__(cls)
        vars(seen).update(vars(sample), _facts=frozenset(facts))
        return seen

    def __getattribute__(self, name: str) -> Any:
        if name in _OF_SAMPLES and name not in vars(self)["_facts"]:
            raise undeclared_fact(f"events.sample.{name}", name)
        return object.__getattribute__(self, name)

    def __repr__(self) -> str:
        known: Mapping[str, Any] = vars(self)
        hidden = {"_facts", *(_OF_SAMPLES - known["_facts"])}
        return f"Sample({', '.join(f'{name}={value!r}' for name, value in known.items() if name not in hidden)})"
