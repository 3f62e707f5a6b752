"""`vrecompute dataset`: what a dataset file can say of its files."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vrecompute.cli.options import PathType
from vrecompute.datasets.checksum import ALGORITHMS, checksum_of
from vrecompute.datasets.find_files import is_url
from vrecompute.errors import OutputError, UsageError

if TYPE_CHECKING:
    from vrecompute.datasets.dataset import Dataset, Sample, Source

__all__ = ["dataset"]


@click.group()
def dataset() -> None:
    """Describe datasets."""


@dataset.command()
@click.argument("data", nargs=-1, required=True, metavar="DATASET...")
@click.option(
    "--algorithm", type=click.Choice(list(ALGORITHMS)), default="sha256", show_default=True, help="Which checksum."
)
@click.option("--threads", type=click.IntRange(1, 64), default=4, show_default=True, help="Files read side by side.")
@click.option("--out", type=PathType(path_type=Path, dir_okay=False), metavar="FILE", help="Not standard output.")
def checksum(data: tuple[str, ...], algorithm: str, threads: int, out: Path | None) -> None:
    """Print DATASET as a dataset file that lists each file with its checksum, which every run then compares.

    DATASET is what `vrecompute run` takes. Each file is read whole; what DATASET says of a file otherwise is kept,
    and a checksum that differs from one given before is an error. So is what is no ROOT file, or a truncated one.
    """
    import yaml

    from vrecompute.datasets.catalogue import resolve
    from vrecompute.stores.apart import check_apart

    if out is not None:
        check_apart(out)
    found = resolve(list(data))
    folder = (out.parent if out else Path()).absolute()
    with ThreadPoolExecutor(threads) as pool:
        checksums = list(pool.map(lambda source: _checksum(source, algorithm), found.sources))
    text = yaml.dump(_described(found, checksums, folder), Dumper=_dumper(), sort_keys=False)
    if out is None:
        click.echo(text, nl=False)
        return
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror or error}") from error


def _checksum(source: Source, algorithm: str) -> str:
    from vrecompute.execution.wholefile import digest_at
    from vrecompute.reader.rawfile import open_raw

    open_raw(source.path)
    wanted, _, digits = (source.checksum or "").partition(":")
    if wanted and (digest := digest_at(source.path, wanted)) != digits:
        raise UsageError(
            f"{source.path}: its {wanted} is {digest}, and the dataset says {digits}; copy the file again, "
            f"or take the {wanted} out of the dataset"
        )
    return checksum_of(algorithm, digest_at(source.path, algorithm))


class _Digits(str):
    """Always between quotes: eight of them may look like a number."""


def _dumper() -> type[Any]:
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    Dumper.add_representer(
        _Digits, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"')
    )
    return Dumper


def _described(found: Dataset, checksums: list[str], folder: Path) -> dict[str, Any]:
    samples = [_sample(sample, folder) for sample in found.samples]
    for entry in samples:
        entry["files"] = [
            _file(source, checksum, folder)
            for source, checksum in zip(found.sources, checksums, strict=True)
            if source.sample == entry["name"]
        ]
    return {"schema": 1, "name": found.name, "samples": samples}


def _sample(sample: Sample, folder: Path) -> dict[str, Any]:
    said = {key: value for key, value in vars(sample).items() if value not in (None, {})}
    if "metadata" in said:
        said["metadata"] = dict(said["metadata"])
    if sample.certified:
        said["certified"] = _relative(sample.certified, folder)
    return said


def _file(source: Source, checksum: str, folder: Path) -> dict[str, Any]:
    algorithm, _, digits = checksum.partition(":")
    said = {
        "path": _relative(source.path, folder),
        "entries": source.entries,
        "tree": source.tree,
        algorithm: _Digits(digits),
        "size_bytes": source.size,
        "replicas": [_relative(replica, folder) for replica in source.replicas] or None,
    }
    return {key: value for key, value in said.items() if value is not None}


def _relative(path: str, folder: Path) -> str:
    """As a dataset file in `folder` names it: from there where it lies below, else from the root."""
    if is_url(path):
        return path
    absolute = os.path.abspath(path)
    inside = Path(absolute).is_relative_to(folder)
    return os.path.relpath(absolute, folder) if inside else absolute
