"""Whole files to and from a bucket: several pieces at a time, and none of them is seen before all are there.

A download is written in place into `.NAME.ETAG.part`, and `.NAME.ETAG.done` has a byte for each piece that is there:
where one is killed or loses its connection, the next fetches only what is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import os
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any, TypeVar

from vrecompute.errors import DamagedObject, StoreError, StoreFull, TransientStore
from vrecompute.stores.base import NO_SPACE, checked, damage
from vrecompute.stores.s3connection import S3Connection, md5_of

__all__ = ["LARGE", "download", "download_small", "drop_unfinished", "upload"]

#: Files of more bytes than this go in pieces.
LARGE = 16 << 20
# Pieces of a download and of an upload, in bytes, and how many are under way: what bounds the memory that is taken.
_GET, _PUT, _AT_ONCE = 8 << 20, 16 << 20, 4
# What is read from a connection at a time: buffers of more are given back to the system and taken anew each time.
_READ = 128 << 10
_MOST_PIECES = 10_000
# No writer takes a day for a file.
_UNFINISHED_S = 86_400.0
_T = TypeVar("_T")


def upload(bucket: S3Connection, key: str, path: Path, sha256: str) -> None:
    """Put a file, in pieces with an MD5 each; nothing is there before the last. Raises StoreError."""
    size = path.stat().st_size
    step = max(_PUT, math.ceil(size / _MOST_PIECES))

    def send(start: int) -> dict[str, Any]:
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(step)
        number = start // step + 1
        told = {**place, "PartNumber": number, "ContentMD5": md5_of(data)}
        answer = bucket.ask(f"piece {number} of {key!r}", "upload_part", Body=data, **told)
        return {"PartNumber": number, "ETag": answer["ETag"]}

    begun = bucket.ask(repr(key), "create_multipart_upload", Key=key, Metadata={"sha256": sha256})
    place = {"Key": key, "UploadId": begun["UploadId"]}
    try:
        parts = _each(send, range(0, size, step))
        bucket.ask(repr(key), "complete_multipart_upload", **place, MultipartUpload={"Parts": parts})
    except BaseException:
        with contextlib.suppress(StoreError):
            bucket.ask(repr(key), "abort_multipart_upload", **place)
        raise


def download_small(
    bucket: S3Connection, key: str, path: Path, sha256: str | None, most_bytes: int
) -> Mapping[str, Any] | None:
    """Get an object by one request into a file, as `download`; what the service says of it where it is larger."""

    def read(answer: Mapping[str, Any]) -> tuple[Mapping[str, Any], bytes | None]:
        if answer["ContentLength"] <= most_bytes:
            return answer, b"".join(_pieces(answer))
        answer["Body"].close()
        return answer, None

    answer, data = bucket.ask(repr(key), "get_object", Key=key, then=read, most_bytes=most_bytes)
    if data is None:
        return dict(answer)
    data = checked(str(bucket), key, data, sha256 or answer["Metadata"].get("sha256"))
    part = path.with_name(f".{path.name[:80]}.{secrets.token_hex(8)}.part")
    with _writing(bucket, key, path):
        try:
            part.touch(mode=0o600)
            part.write_bytes(data)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return None


def download(bucket: S3Connection, key: str, head: Mapping[str, Any], path: Path, sha256: str | None) -> None:
    """Get the object that `head` tells of into a file, which is there whole or not at all.

    DamagedObject where it is another by the end, or has another sha256. Raises StoreError; a later call goes on.
    """
    beside = path.with_name(f".{path.name[:80]}.{re.sub('[^0-9A-Za-z-]', '', head['ETag'])}")
    keep = False
    with _writing(bucket, key, path):
        names, files = _opened(beside)
        try:
            _fetch(bucket, key, head, *files)
            if sha256 is not None and (found := _sha256(files[0])) != sha256:
                raise damage(str(bucket), key, sha256, found)
            names[0].replace(path)
        except (TransientStore, KeyboardInterrupt):
            keep = names[0].name == f"{beside.name}.part"
            raise
        finally:
            for name, file in zip(names, files, strict=True):
                os.close(file)
                if not keep:
                    name.unlink(missing_ok=True)


@contextlib.contextmanager
def _writing(bucket: S3Connection, key: str, path: Path) -> Iterator[None]:
    """StoreError for what keeps a file from being written."""
    try:
        yield
    except OSError as error:
        kind = StoreFull if error.errno in NO_SPACE else StoreError
        raise kind(f"{bucket}: {key!r} cannot be written to {path}: {error.strerror}") from error


def _fetch(bucket: S3Connection, key: str, head: Mapping[str, Any], part: int, done: int) -> None:
    """Write what is not there yet."""
    size, etag = int(head["ContentLength"]), str(head["ETag"])
    pieces = math.ceil(size / _GET)
    os.ftruncate(part, size)
    there = os.pread(done, pieces, 0).ljust(pieces, b"\0")

    def fetch(index: int) -> None:
        start = index * _GET
        asked = f"bytes={start}-{min(start + _GET, size) - 1}"
        bucket.ask(repr(key), "get_object", Key=key, Range=asked, IfMatch=etag, then=lambda a: _write(part, start, a))
        os.pwrite(done, b"\1", index)

    try:
        _each(fetch, [index for index in range(pieces) if not there[index]])
    except StoreError as error:
        fault = None if error.__cause__ is None else bucket.fault(error.__cause__)
        if fault is not None and fault.kind == "changed":
            raise DamagedObject(f"{bucket}: {key!r} was overwritten while it was read") from error
        raise


def drop_unfinished(bucket: S3Connection, start: str) -> None:
    """Forget uploads of keys that begin so and stopped a day ago, which take space unseen; as far as is permitted."""
    what = "the list of unfinished uploads"
    with contextlib.suppress(StoreError):
        for found in bucket.ask(what, "list_multipart_uploads", Prefix=start).get("Uploads", []):
            if time.time() - found["Initiated"].timestamp() > _UNFINISHED_S:
                bucket.ask(what, "abort_multipart_upload", Key=found["Key"], UploadId=found["UploadId"])


def _each(call: Callable[[int], _T], arguments: Sequence[int]) -> list[_T]:
    """What each call gives, in order, some at a time; retries count for this thread."""
    with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="s3") as pool:
        asked = [pool.submit(copy_context().run, call, argument) for argument in arguments]
        try:
            return [future.result() for future in asked]
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _opened(beside: Path) -> tuple[list[Path], list[int]]:
    """`.part` and `.done`, open for this process alone: under other names where another process is at it."""
    names = [beside.with_name(f"{beside.name}.{kind}") for kind in ("part", "done")]
    files = [os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600) for name in names]
    with contextlib.suppress(OSError):
        fcntl.flock(files[1], fcntl.LOCK_EX | fcntl.LOCK_NB)
        if all(os.path.samestat(os.stat(n), os.fstat(f)) for n, f in zip(names, files, strict=True)):
            return names, files
    for file in files:
        os.close(file)
    return _opened(beside.with_name(f"{beside.name}.{secrets.token_hex(8)}"))


def _write(file: int, start: int, answer: Mapping[str, Any]) -> None:
    """Write a body where it belongs as it comes."""
    for piece in _pieces(answer):
        os.pwrite(file, piece, start)
        start += len(piece)


def _pieces(answer: Mapping[str, Any]) -> Iterator[bytes]:
    with contextlib.closing(answer["Body"]) as body:
        yield from body.iter_chunks(_READ)


def _sha256(descriptor: int) -> str:
    with open(os.dup(descriptor), "rb") as file:
        file.seek(0)
        return hashlib.file_digest(file, "sha256").hexdigest()
