"""`move_new`: a file gets a name that no other has yet, by a hard link, or by a claim where there are none."""

from __future__ import annotations

import errno
import os
import stat
import time
from pathlib import Path

__all__ = ["NOT_SUPPORTED", "is_taken", "move_new"]

#: What file systems say that have no hard links, or cannot make a directory durable by itself.
NOT_SUPPORTED = frozenset(
    {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EXDEV, errno.EMLINK, errno.EINVAL}
)
# How long another writer's claim is respected, and how often it is looked at.
_CLAIM_S, _CLAIM_LOOK_S = 5.0, 0.05


def is_taken(target: Path, size: int) -> bool:
    """Whether there is anything; an empty file where there is to be one of a `size` is a claim, see `_claim`."""
    try:
        status = target.lstat()
    except OSError:
        return False
    return not stat.S_ISREG(status.st_mode) or status.st_size > 0 or not size


def move_new(temporary: Path, target: Path, size: int) -> bool:
    """Give the file its name, unless the name is taken."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        return _claim(temporary, target, size)
    except OSError as error:
        if error.errno not in NOT_SUPPORTED:
            raise
        return _claim(temporary, target, size)
    return True


def _claim(temporary: Path, target: Path, size: int) -> bool:
    """As a link, where a file system has none: the process that makes an empty file of that name may rename onto it.

    For that moment a reader finds an empty object, which proves nothing and is not used. A claim that stays, since its
    writer was killed, is damage as any other: see `objects`.
    """
    deadline = time.monotonic() + _CLAIM_S
    while True:
        try:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            break
        except FileExistsError:
            if is_taken(target, size) or time.monotonic() > deadline:
                return False
            time.sleep(_CLAIM_LOOK_S)
    temporary.rename(target)
    return True
