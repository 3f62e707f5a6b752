"""`Dwarfs`: backgrounds of dwarf galaxies from the sky around them, and their likelihoods in the cross-section."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from vrecompute.analysis import Analysis, Grid, Opening, Parameter, SourceView, interval
from vrecompute.datasets.columns import Columns
from vrecompute.errors import ParameterError, UnreadableFile, UsageError
from vrecompute.results.result import Array, Result
from vrecompute_analyses.dwarfs.calibration import SPLITS, held_out
from vrecompute_analyses.dwarfs.estimators import ESTIMATORS, fitted, make_estimator
from vrecompute_analyses.dwarfs.likelihood import (
    SCALINGS,
    BackgroundModel,
    JPrior,
    fixed_background,
    gaussian_j,
    photons_per_annihilation,
    profile,
    sampled_j,
    signal_per_cross_section,
)
from vrecompute_analyses.dwarfs.tables import (
    BINS,
    CHANNELS,
    FILES,
    Dwarf,
    Floats,
    Voids,
    j_samples_files,
    read_dwarfs,
    read_j_samples,
    read_masses,
    read_spectra,
    read_voids,
)
from vrecompute_analyses.dwarfs.training import (
    SCORE_BIN,
    Bandwidths,
    bandwidth_grid,
    best,
    ln_background_pdf,
    predict,
    score_rows,
)

__all__ = ["Dwarfs"]

# How far a profiled background may move, in predicted errors of its logarithm, and in which steps.
_WIDTHS, _STEPS_PER_WIDTH = 6, 20
_CHUNKS = {"map": 4096, "limits": 8, "estimators": 1}

Ints = NDArray[np.int64]
# What the items of a grid are made of, the slowest first: name -> values.
Axes = dict[str, Sequence[Any]]


class Dwarfs(Analysis):
    """Background prediction and cross-section limits for dwarf spheroidal galaxies.

    The dataset is a directory laid out as the public MLFermiLATDwarfs one. `step` says what is computed, each
    over its own grid, one item of which is
      bandwidths  one width s of the grid: leave-one-out scores for all v
      predict     one dwarf: ln(background) and its error in each of six bins
      limits      one (channel, dwarf, mass): the profiled likelihood in the cross-section
      map         one (bandwidth, HEALPix pixel, nested, Galactic): ln(background) and its error
      estimators  one (estimator, split of the sky): calibrated predictions of held-out voids, and their score
    Likelihoods of dwarfs add, so the grid of `limits` is all a stack needs. Results are arrays by name; rows of
    `likelihood/BACKGROUND/CHANNEL/DWARF` are the mass, `first` and `step` of the knots, and -2 ln L (see `Likelihood`).
    """

    name: ClassVar[str] = "dwarfs"
    title: ClassVar[str] = "Dwarf spheroidal galaxies: gamma-ray backgrounds and annihilation limits"
    finish_function: ClassVar[str] = "vrecompute_analyses.dwarfs.finish:finish"
    figures_function: ClassVar[str] = "vrecompute_analyses.dwarfs.figures:figures"
    opens_directory: ClassVar[bool] = True
    dependencies: ClassVar[tuple[str, ...]] = ("astropy-healpix", "scikit-learn", "scipy")
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter("step", "limits", "what to compute", type=str,
                  choices=("bandwidths", "predict", "limits", "map", "estimators")),
        Parameter("metric", "sphere", "distances: great circle, or degrees as published", type=str,
                  choices=("sphere", "planar")),
        Parameter("bandwidth_deg", 0.0, "width s of the kernel on the sky (0: the best by leave-one-out score)",
                  minimum=0, maximum=180),
        Parameter("bandwidth_ln_counts", 0.0, "width v of the kernel in ln(counts) (0: the best)", minimum=0),
        Parameter("estimator", "kernel", "what predicts backgrounds (step=estimators compares them)", type=str,
                  choices=tuple(ESTIMATORS)),
        Parameter("dwarfs", "all", "names, comma-separated, or all", type=str),
        Parameter("channel", "bb", f"annihilation channels, comma-separated, of {', '.join(CHANNELS)}", type=str),
        Parameter("mass_range_gev", (8.0, 1000.0), "masses of the directory's list within low,high", type=interval,
                  above=0),
        Parameter("j_factor", "gaussian", "nuisance: Gaussian in log10 J, or density of samples where there are any",
                  type=str, choices=("gaussian", "samples")),
        Parameter("background", "fixed", "background as predicted, or profiled with its density", type=str,
                  choices=("fixed", "profiled")),
        Parameter("background_scaling", "factor", "how a profiled background moves in all bins: one factor on B, or "
                  "one on ln B as published; limits of the other are given beside", type=str, choices=SCALINGS),
        Parameter("pseudo_experiments", 40, "background-only experiments for expected limits", type=int, minimum=0,
                  maximum=100_000),
        Parameter("seed", 1, "seed of the pseudo-experiments", type=int, minimum=0),
        Parameter("nside", 64, "HEALPix resolution of the map, a power of two", type=int, minimum=1, maximum=4096),
        Parameter("map_bandwidths_deg", (), "widths s of the map (none: the one of bandwidth_deg)", type=tuple, above=0,
                  maximum=180),
        Parameter("stack", "Draco,Sculptor,UrsaMinor,LeoII", "dwarfs of the stack, besides that of all", type=str,
                  stage="finish"),
    )  # fmt: skip

    def needs(self) -> Mapping[str, str]:
        """The extra 'astro' for maps, and 'ml' for the estimators besides the kernel."""
        if self["step"] == "map":
            return dict.fromkeys(("astropy", "astropy_healpix"), "vrecompute[astro]")
        learns = self["step"] in ("predict", "limits") and self["estimator"] != "kernel"
        return {"sklearn": "vrecompute[ml]"} if learns or self["step"] == "estimators" else {}

    def columns(self, source: SourceView) -> Sequence[str]:
        """None: the source is a grid."""
        return ()

    def open_directory(self, path: Path) -> Opening:
        """The tables of `path` and the grid of this step. Raises UnreadableFile, BadInput or ParameterError."""
        resources = {name: path / file for name, file in FILES.items()}
        for file in resources.values():
            if not file.is_file():
                raise UnreadableFile(str(file), "is missing; the directory must be laid out as MLFermiLATDwarfs")
        resources |= {f"j_samples_{name}": file for name, file in j_samples_files(path).items()}
        step = self["step"]
        axes = self._axes(resources)
        size = int(np.prod([len(values) for values in axes.values()]))
        described = {name: len(values) if isinstance(values, range) else list(values) for name, values in axes.items()}
        return Opening(resources, (Grid(f"dwarfs-{step}", size, _CHUNKS.get(step, 5), {"step": step, **described}),))

    def process(self, events: Columns) -> Result:
        """Arrays of the items of one chunk of the grid."""
        items = np.asarray(events.flat("index"), dtype=np.int64)
        resources = events.resources
        axes = self._axes(resources)
        where = np.unravel_index(items, [len(values) for values in axes.values()])
        steps: Mapping[str, Callable[..., Result]] = {
            "bandwidths": self._bandwidths,
            "predict": self._predict,
            "limits": self._limits,
            "map": self._map,
            "estimators": self._estimators,
        }
        return steps[self["step"]](resources, axes, *where)

    def rehearse(self) -> None:
        """Compile the regression, its scores and densities, on the sphere and in the plane, for a few made-up voids."""
        longitude, latitude = np.meshgrid(np.arange(20.0, 60.0, 2.0), np.arange(-20.0, 20.0, 2.0))
        positions = np.stack([longitude.ravel(), latitude.ravel()], axis=1)
        voids = Voids(positions, np.full((len(positions), 6), 10.0))
        widths = Bandwidths(3.0, 0.2)
        for metric in ("sphere", "planar"):
            predict(voids, positions[:3], widths, metric)
            score_rows(voids, metric, np.arange(1))
            ln_background_pdf(voids, (40.0, 0.0), widths, metric, np.linspace(2.0, 3.0, 5), SCORE_BIN)

    def _axes(self, resources: Mapping[str, Path]) -> Axes:
        """What the items of the grid are made of, the slowest first."""
        step = self["step"]
        if step == "bandwidths":
            return {"s_deg": [float(s) for s in bandwidth_grid(self["metric"])[0]]}
        if step == "map":
            nside = self["nside"]
            if nside < 1 or nside & (nside - 1):
                raise ParameterError(f"parameter nside={nside} must be a power of two")
            return {"bandwidth_deg": self["map_bandwidths_deg"] or (self["bandwidth_deg"],),
                    "pixel": range(12 * nside * nside)}  # fmt: skip
        if step == "estimators":
            return {"estimator": list(ESTIMATORS), "split": range(SPLITS)}
        names = [d.name for d in self._chosen(resources)]
        if step == "predict":
            return {"dwarf": names}
        channels = _names(self["channel"], CHANNELS, "channel")
        low, high = self["mass_range_gev"]
        masses = [m for m in read_masses(resources["masses"]) if low <= m <= high]
        if not masses:
            raise ParameterError(f"parameter mass_range_gev={low:g},{high:g} holds no mass of {resources['masses']}")
        return {"channel": channels, "dwarf": names, "mass_gev": masses}

    def _chosen(self, resources: Mapping[str, Path]) -> list[Dwarf]:
        dwarfs = {d.name: d for d in read_dwarfs(resources["dwarfs"], resources["observed"])}
        names = list(dwarfs) if self["dwarfs"] == "all" else _names(self["dwarfs"], dwarfs, "dwarfs")
        return [dwarfs[name] for name in names]

    def _voids(self, resources: Mapping[str, Path]) -> tuple[Voids, Bandwidths]:
        voids = read_voids(resources["voids"], resources["void_counts"])
        return voids, best(voids, self["metric"], self["bandwidth_deg"], self["bandwidth_ln_counts"])

    def _bandwidths(self, resources: Mapping[str, Path], axes: Axes, rows: Ints) -> Result:
        voids = read_voids(resources["voids"], resources["void_counts"])
        scores = score_rows(voids, self["metric"], rows)
        s = np.array([axes["s_deg"][r] for r in rows])
        return Result(arrays={"s_deg": Array(s, "concat"), "score": Array(scores, "concat")})

    def _predict(self, resources: Mapping[str, Path], axes: Axes, which: Ints) -> Result:
        voids, widths = self._voids(resources)
        chosen = self._chosen(resources)
        result = Result(counters={"predictions without a neighbour": 0.0})
        result.arrays["bandwidths"] = Array(np.tile([widths.s_deg, widths.v], (len(which), 1)), "concat")
        for dwarf in [chosen[i] for i in which]:
            mean, variance = self._predicted(voids, widths, dwarf)
            result.arrays |= {
                f"position_deg/{dwarf.name}": Array(np.array(dwarf.position_deg)),
                f"counts/{dwarf.name}": Array(dwarf.counts),
                f"ln_background/{dwarf.name}": Array(mean),
                f"ln_background_error/{dwarf.name}": Array(np.sqrt(variance)),
            }
            result.counters["predictions without a neighbour"] += float(np.isnan(mean).sum())
        return result

    def _map(self, resources: Mapping[str, Path], axes: Axes, which: Ints, pixels: Ints) -> Result:
        voids = read_voids(resources["voids"], resources["void_counts"])
        positions = _pixel_centres(self["nside"], pixels)
        result = Result(counters={"predictions without a neighbour": 0.0})
        for i in np.unique(which):
            s = float(axes["bandwidth_deg"][i])
            widths = best(voids, self["metric"], s, self["bandwidth_ln_counts"])
            mine = which == i
            found = predict(voids, positions[mine], widths, self["metric"])
            name = f"{widths.s_deg:.6g}_deg"
            result.arrays |= {
                f"pixel/{name}": Array(pixels[mine], "concat"),
                f"ln_background/{name}": Array(found.mean, "concat"),
                f"ln_background_error/{name}": Array(np.sqrt(found.variance), "concat"),
            }
            result.counters["predictions without a neighbour"] += float(found.empty.sum())
        return result

    def _estimators(self, resources: Mapping[str, Path], axes: Axes, which: Ints, splits: Ints) -> Result:
        voids, widths = self._voids(resources)
        result = Result()
        for e, split in zip(which, splits, strict=True):
            name = axes["estimator"][e]
            found = held_out(voids, int(split), partial(make_estimator, name, widths, self["metric"]))
            result += Result(
                arrays={
                    f"void/{name}": Array(found.voids, "concat"),
                    f"pit/{name}": Array(found.pit, "concat"),
                    f"log_probability/{name}": Array(found.log_probability, "concat"),
                }
            )
        return result

    def _limits(self, resources: Mapping[str, Path], axes: Axes, channel: Ints, dwarf: Ints, mass: Ints) -> Result:
        voids, widths = self._voids(resources)
        chosen = self._chosen(resources)
        known: dict[int, tuple[dict[str, BackgroundModel], Floats, JPrior]] = {}
        rows: dict[str, list[Any]] = {}
        for c, d, m in zip(channel, dwarf, mass, strict=True):
            name, mass_gev, target = axes["channel"][c], float(axes["mass_gev"][m]), chosen[d]
            if d not in known:
                models = self._backgrounds(voids, widths, target)
                # The same pseudo-counts at every mass and in every channel: a curve of limits is one experiment.
                toys = _pseudo_counts(
                    next(iter(models.values())), self["seed"], target.name, self["pseudo_experiments"]
                )
                known[d] = (models, np.concatenate([target.counts[None], toys]), self._prior(resources, target))
            models, counts, prior = known[d]
            photons = photons_per_annihilation(read_spectra(resources["spectra"], name), mass_gev)
            signal = signal_per_cross_section(target, photons, mass_gev)
            for i, (background, model) in enumerate(models.items()):
                found = profile(counts if i == 0 else counts[:1], signal, model, prior)
                row = np.array([mass_gev, found.first, found.step, *found.minus_two_ln[0]])
                rows.setdefault(f"likelihood/{background}/{name}/{target.name}", []).append(row)
                if i == 0:
                    expected = found.minus_two_ln[1:]
                    relative = (expected - expected.min(axis=-1, keepdims=True)).astype(np.float32)
                    rows.setdefault(f"expected/{name}/{target.name}", []).append(relative)
        return Result(arrays={key: Array(np.array(values), "concat") for key, values in rows.items()})

    def _backgrounds(self, voids: Voids, widths: Bandwidths, dwarf: Dwarf) -> dict[str, BackgroundModel]:
        """Models of the background by name: the one asked for, then what a profiled one is compared with."""
        mean, variance = self._predicted(voids, widths, dwarf)
        if np.isnan(mean).any():
            raise UsageError(f"no void region is near {dwarf.name}: choose a larger bandwidth_deg or leave it out")
        if self["background"] == "fixed":
            return {"fixed": fixed_background(np.exp(mean))}
        centre, width = mean[SCORE_BIN], np.sqrt(variance[SCORE_BIN])
        shifts = np.linspace(-_WIDTHS, _WIDTHS, 2 * _WIDTHS * _STEPS_PER_WIDTH + 1) * width
        minus_two_ln = np.square(shifts / width)
        if self["estimator"] == "kernel":  # the others give a variance and no density
            p = ln_background_pdf(voids, dwarf.position_deg, widths, self["metric"], centre + shifts, SCORE_BIN)
            minus_two_ln = -2 * np.log(np.maximum(p / p.max(), np.finfo(float).tiny))
        chosen = self["background_scaling"]
        found = {}
        for scaling in sorted(SCALINGS, key=lambda name: name != chosen):
            if scaling == "published" and not centre > 0:
                # Its ratios of logarithms have no meaning here.
                if scaling == chosen:
                    raise UsageError(
                        f"background_scaling=published divides by ln of the background of {dwarf.name} in the first "
                        "bin, which is predicted as one count or less: choose factor or leave the dwarf out"
                    )
                continue
            per_bin = mean / centre if scaling == "published" else np.ones(BINS)
            found[scaling] = BackgroundModel(np.exp(mean), shifts, minus_two_ln, per_bin)
        return found

    def _predicted(self, voids: Voids, widths: Bandwidths, dwarf: Dwarf) -> tuple[Floats, Floats]:
        """Mean and variance of ln(background), each (6,), NaN where the kernel has no neighbour."""
        position = np.array([dwarf.position_deg])
        if self["estimator"] == "kernel":
            found = predict(voids, position, widths, self["metric"])
            return found.mean[0], found.variance[0]
        mean, variance = fitted(self["estimator"], voids, widths, self["metric"]).predict(position)
        return mean[0], variance[0]

    def _prior(self, resources: Mapping[str, Path], dwarf: Dwarf) -> JPrior:
        samples = resources.get(f"j_samples_{dwarf.name}")
        if self["j_factor"] == "samples" and samples is not None:
            return sampled_j(read_j_samples(samples), dwarf.log10_j)
        return gaussian_j(dwarf.log10_j_error)


def _names(text: str, known: Mapping[str, object], parameter: str) -> list[str]:
    names = [word.strip() for word in text.split(",") if word.strip()]
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ParameterError(f"parameter {parameter}={text!r}: {', '.join(unknown) or 'nothing'} is not among "
                             f"{', '.join(known)}")  # fmt: skip
    return list(dict.fromkeys(names))


def _pixel_centres(nside: int, pixels: Ints) -> Floats:
    """Galactic longitude and latitude in degrees, shape (N, 2), of nested HEALPix pixels."""
    try:
        from astropy_healpix.healpy import pix2ang
    except ImportError as error:
        raise UsageError("step=map needs the extra 'astro' on the workers: pip install 'vrecompute[astro]'") from error
    return np.stack(pix2ang(nside, pixels, nest=True, lonlat=True), axis=1)


def _pseudo_counts(background: BackgroundModel, seed: int, name: str, experiments: int) -> Floats:
    """Background-only counts (experiments, 6), the same for a dwarf wherever it is computed."""
    rng = np.random.default_rng([seed, *name.encode()])
    weight = np.exp(-0.5 * background.minus_two_ln)
    return np.asarray(
        rng.poisson(rng.choice(background.levels, experiments, p=weight / weight.sum())), dtype=np.float64
    )
