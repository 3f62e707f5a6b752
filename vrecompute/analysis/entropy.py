"""Random numbers without a seed, as they are drawn: by whatever library, while `process` runs.

numpy asks for entropy of the machine where a generator is made without a seed; that raises an audit event from
`listen` on. The generator that all code of a process shares is looked at before and after.
"""

from __future__ import annotations

import secrets
import sys
from functools import lru_cache
from typing import Any

import numpy as np

__all__ = ["MADE", "UNSEEDED", "is_drawn_from", "is_seeded", "listen", "shared_generator"]

#: The audit event of a generator that is made without a seed.
UNSEEDED = "vrecompute.unseeded"
#: That of a RandomState's generator, its argument: it gets its seed afterwards, or none.
MADE = "vrecompute.random_state"


def shared_generator() -> Any:
    """The state of numpy's generator that all code of a process shares.

    Python's own is no sign: Dask draws from it in other threads.
    """
    return np.random.get_state(legacy=True)


def is_drawn_from(before: Any) -> bool:
    """Whether that has another state than `before`."""
    (_, keys, *rest), (_, other_keys, *other_rest) = before, shared_generator()
    return rest != other_rest or not np.array_equal(keys, other_keys)


def is_seeded(made: Any) -> bool:
    """Whether a RandomState's generator was given a seed after it was made."""
    return getattr(made, "_seed_seq", None) is None


@lru_cache(maxsize=1)
def listen() -> None:
    """Have numpy raise these events in this process from now on; nothing where numpy's own parts have other names."""
    from numpy.random import bit_generator, mtrand

    if hasattr(bit_generator, "randbits"):
        vars(bit_generator)["randbits"] = _random_bits
    if isinstance(getattr(mtrand, "_MT19937", None), type):
        vars(mtrand)["_MT19937"] = _Legacy


def _random_bits(bits: int) -> int:
    frame = sys._getframe(1)
    made_again = frame.f_globals.get("__name__") == "numpy.random._pickle" or "jumped" in frame.f_code.co_names
    if not made_again and frame.f_code is not _Maker.__call__.__code__:
        sys.audit(UNSEEDED)
    return secrets.randbits(bits)


class _Maker(type):
    """Of what RandomState takes for its class of generators: makes these, and says so."""

    def __call__(cls, *arguments: Any) -> Any:
        made = np.random.MT19937(*arguments)
        if not arguments:
            sys.audit(MADE, made)
        return made

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, np.random.MT19937)


class _Legacy(metaclass=_Maker):
    pass
