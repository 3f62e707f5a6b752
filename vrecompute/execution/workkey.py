"""The work key (law 3): what, besides the data, makes the numbers of a part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vrecompute import reader
from vrecompute.analysis import Analysis
from vrecompute.datasets.dataset import Sample
from vrecompute.digest import sha256_json
from vrecompute.execution.manifest import Manifest
from vrecompute.execution.parts import PART_FORMAT

__all__ = ["sample_views", "work_key"]


def work_key(manifest: Manifest, analysis: Analysis) -> str:
    """Names analysis code, process parameters, resources, numerics, and versions of reader and parts.

    Not of it: the certified-luminosity files of samples, which are in the samples' views, and the files the
    analysis came from, whose digests count comments that the code's does not.
    """
    return sha256_json(
        {
            "analysis": [manifest.analysis, manifest.analysis_version, manifest.code],
            "parameters": analysis.process_parameters(),
            "resources": manifest.resources,
            "numerics": manifest.numerics,
            "reader": reader.READER_VERSION,
            "format": PART_FORMAT,
        }
    )[:40]


def sample_views(manifest: Manifest) -> dict[str, dict[str, Any]]:
    """What `process` may see of each sample, with files replaced by what they contain."""
    views = {}
    for sample in manifest.dataset.samples:
        views[sample.name] = _view(sample, manifest.certified)
    return views


def _view(sample: Sample, certified: Mapping[str, str]) -> dict[str, Any]:
    view = sample.process_view()
    if sample.certified is not None:
        view["certified"] = certified[sample.name]
    return view
