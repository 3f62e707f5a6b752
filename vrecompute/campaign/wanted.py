"""`Wanted`: what each unit of a campaign should be made of now; files are looked at, none is read.

A unit is one analysis of one dataset, and has one product. Its identity is all that makes numbers but the files: code,
parameters, resources, samples, libraries. What is wanted is named by the identity and the files with their stamps.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

from vrecompute.analysis.loading import load_analysis
from vrecompute.campaign.load import CampaignFile
from vrecompute.campaign.model import Analysis as WantedAnalysis
from vrecompute.campaign.model import Dataset as WantedDataset
from vrecompute.client import Client
from vrecompute.datasets.catalogue import resolve
from vrecompute.datasets.dataset import Dataset
from vrecompute.datasets.find_files import There, is_url
from vrecompute.digest import sha256_json
from vrecompute.errors import DatasetError, Unavailable, UsageError, VrecomputeError
from vrecompute.execution.prepare import Request, prepare
from vrecompute.reader.bytesource import look_at
from vrecompute.reader.localfile import stamp_of
from vrecompute.records import to_data
from vrecompute.sites.access import Access, open_access

__all__ = ["Found", "Unit", "Wanted", "access_of", "look_for", "run_name", "units_of", "wanted"]

# Addresses that servers are asked about at once.
_AT_ONCE = 16
_EMPTY = ("no file matches", "holds no .root file")


@dataclass(frozen=True)
class Unit:
    """One analysis of one dataset."""

    analysis: WantedAnalysis
    dataset: WantedDataset

    @property
    def name(self) -> str:
        """What the ledger, products and people call it: `ANALYSIS/DATASET`."""
        return f"{self.analysis.key or self.analysis.name}/{self.dataset.name}"


@dataclass(frozen=True)
class Found:
    """What is there of a dataset: its sources, and stamp and size in bytes of each by its address."""

    dataset: Dataset
    stamps: Mapping[str, str]
    sizes: Mapping[str, int]


@dataclass(frozen=True)
class Wanted:
    """What a unit should be made of. `parts` are the parts of its identity, by what they are."""

    unit: Unit
    found: Found
    identity: str
    parts: Mapping[str, Any]
    code: str
    directory: str | None = None

    def of(self, inputs: Mapping[str, str]) -> str:
        """The name of what is made of these inputs (address -> stamp)."""
        return sha256_json({"identity": self.identity, "inputs": dict(inputs)})

    def only(self, inputs: Mapping[str, str]) -> Any:
        """The dataset with these files alone, as `Client.submit` takes it."""
        if self.directory is not None:
            return self.directory
        sources = tuple(source for source in self.found.dataset.sources if source.path in inputs)
        return replace(self.found.dataset, sources=sources)

    def changes(self, before: Mapping[str, Any]) -> str:
        """What of its identity is another than before, in words; empty where nothing is."""
        words = []
        for part, now in self.parts.items():
            was = before.get(part)
            if was != now and isinstance(now, dict) and isinstance(was, dict):
                keys = sorted(k for k in {*was, *now} if was.get(k) != now.get(k))
                words.append(f"{part} ({', '.join(f'{k}: {was.get(k)} -> {now.get(k)}' for k in keys[:3])})")
            elif was != now:
                words.append(part)
        return ", ".join(words)


def units_of(file: CampaignFile) -> list[Unit]:
    """All units, those of higher priority first."""
    campaign = file.campaign
    found = [
        Unit(analysis, dataset)
        for analysis in campaign.analyses
        for dataset in campaign.datasets
        if not analysis.datasets or dataset.name in analysis.datasets
    ]
    return sorted(found, key=lambda unit: -unit.analysis.priority)


def look_for(file: CampaignFile, dataset: WantedDataset, client: Client) -> Found:
    """What is there of a dataset now. Unavailable where it cannot be looked at, or nothing is there that should be."""
    access = access_of(client)
    given = [_place(file, address, access) for address in dataset.files]
    try:
        resolved = resolve(given, tree=dataset.tree, access=access)
    except DatasetError as error:
        if dataset.may_be_empty and any(words in str(error) for words in _EMPTY):
            return Found(Dataset((), ()), {}, {})
        raise Unavailable(
            f"dataset {dataset.name!r} cannot be looked at, and is taken to be as it was: {error}"
        ) from error
    paths = list(dict.fromkeys(source.path for source in resolved.sources))
    stamps, sizes = _stamps(paths, access, dataset.name)
    there = tuple(source for source in resolved.sources if source.path in stamps)
    return Found(replace(resolved, sources=there), stamps, sizes)


def wanted(file: CampaignFile, unit: Unit, found: Found | None, client: Client) -> Wanted:
    """What a unit should be made of; `found` is None for an analysis that opens a directory itself.

    UsageError where the analysis cannot be had, or what it is cannot be told from one tick to the next.
    """
    name, parameters = file.analysis(unit.analysis.name), unit.analysis.parameters
    directory = None
    if load_analysis(name, parameters)[0].opens_directory:
        directory, found = _place(file, unit.dataset.files[0], access_of(client)), None
    if found is None and directory is None:
        raise Unavailable(f"dataset {unit.dataset.name!r} could not be looked at")
    # which files there are is no part of the identity
    samples = None if found is None else replace(found.dataset, sources=())
    request = Request(name, directory or samples, parameters)
    made, manifest = prepare(request, client.store, client.site.name, access_of(client), keep=False)
    if manifest.unnamed:
        raise UsageError(
            f"unit {unit.name}: a campaign cannot tell whether analysis {made.name!r} changed: {manifest.unnamed[0]}"
        )
    parts = {
        "analysis": f"{manifest.analysis} {manifest.analysis_version}",
        "code": manifest.code,
        "parameters": {key: str(value) for key, value in manifest.parameters.items()},
        "resources": dict(manifest.resources),
        "certified lists": dict(manifest.certified),
        "samples": sha256_json(to_data(manifest.dataset.samples)) if manifest.dataset.samples else "",
        "grids": sha256_json(to_data(manifest.grids)),
        "libraries": dict(manifest.numerics),
        "arithmetic": sha256_json(dict(manifest.arithmetic)),
    }
    seen = found or Found(manifest.dataset, {}, {})
    return Wanted(unit, seen, sha256_json(parts), parts, manifest.code, directory)


def access_of(client: Client) -> Access | None:
    """The way to the machine of a site's files; None for this one."""
    if client.site.access.kind == "local":
        return None
    return getattr(client.backend, "access", None) or open_access(client.site)


def run_name(campaign: str, unit: str, want: str, attempt: int) -> str:
    """The name of the run of an attempt: the same in each process that makes it."""
    stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", f"{campaign}-{unit.replace('/', '-')}")[:120]
    return f"{stem}-{want[:12]}-{attempt}"


def _place(file: CampaignFile, address: str, access: Access | None) -> str:
    """An address of a campaign file; relative paths begin beside the file, or in the home folder of a site's login."""
    if is_url(address) or access is not None:
        return address
    path, colons, sample = address.partition("::")
    return f"{file.beside(path)}{colons}{sample}"


def _stamps(paths: Sequence[str], access: Access | None, dataset: str) -> tuple[dict[str, str], dict[str, int]]:
    """Stamp and size of each that is there."""
    stamps: dict[str, str] = {}
    sizes: dict[str, int] = {}
    afar = [path for path in paths if is_url(path)]
    near = [path for path in paths if not is_url(path)]
    if access is None:
        for path in near:
            try:
                status = os.stat(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise Unavailable(f"dataset {dataset!r}: {path}: {error.strerror or error}") from error
            stamps[path], sizes[path] = _text(stamp_of(status)), status.st_size
    else:
        for path, stamp in There(access).stamps(near).items():
            stamps[path], sizes[path] = _text(stamp), stamp[0]
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for path, source in zip(afar, pool.map(look_at, afar), strict=True):
                stamps[path], sizes[path] = _text(source.stamp), source.size
    except VrecomputeError as error:
        raise Unavailable(f"dataset {dataset!r} cannot be looked at, and is taken to be as it was: {error}") from error
    return stamps, sizes


def _text(stamp: Sequence[int | str]) -> str:
    return ":".join(map(str, stamp))
