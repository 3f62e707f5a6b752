"""The page is self-contained, escapes everything, and says what is missing."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser

import boost_histogram as bh
import numpy as np
import pytest
from hypothesis import given

from tests.reports.test_report import summaries, summary
from vrecompute.reports.html import MOST_FILES, Figure, card, page, read_figure
from vrecompute.reports.report import Chunks, Events, FileSummary, ReportedFailure
from vrecompute.results.result import Result

HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=alert(1)>"
VOID = {"meta", "br", "img", "link", "hr", "input"}


class Reader(HTMLParser):
    """Reads a page strictly: tags must nest; remembers tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read(html: str) -> Reader:
    reader = Reader()
    reader.feed(html)
    reader.close()
    assert reader.open == []
    return reader


def mass(weights=None) -> Result:
    h = bh.Histogram(bh.axis.Regular(60, 60, 120, metadata="m [GeV]"), storage=bh.storage.Weight())
    rng = np.random.default_rng(1)
    h.fill(rng.normal(91, 3, 5000), weight=weights)
    log = bh.Histogram(bh.axis.Variable(np.geomspace(225, 5806, 100)), storage=bh.storage.Int64())
    log.fill(225 + rng.exponential(150, 20000))
    two = bh.Histogram(bh.axis.StrCategory(["nominal", "up"]), bh.axis.Regular(10, 0, 1))
    two.fill(["nominal", "up"], [0.5, 0.7])
    flat = bh.Histogram(bh.axis.Regular(3, 0, 1), bh.axis.Regular(3, 0, 1))
    return Result(histograms={"mass": h, "spectrum": log, "varied": two, "plane": flat})


def test_self_contained_and_inert():
    reader = read(page(summary(), {"data": mass()}, [Figure("fit", "image/png", b"\x89PNG")]))
    assert not reader.tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for tag, name, value in reader.attributes:
        assert not name.startswith("on"), (tag, name)
        if name in {"src", "href"}:
            assert value.startswith("data:"), value
    assert "default-src 'none'" in page(summary())


@given(summaries)
def test_any_summary_makes_a_page(one):
    read(page(one))
    read(card(one))


def test_everything_is_escaped():
    hostile = summary(
        run=HOSTILE,
        site=HOSTILE,
        parameters={HOSTILE: HOSTILE},
        cutflow={HOSTILE: {HOSTILE: 1}},
        failures=(ReportedFailure(HOSTILE, None, HOSTILE, HOSTILE),),
        files=(FileSummary(HOSTILE, HOSTILE, 1, 2),),
        warnings=(HOSTILE,),
        versions={HOSTILE: HOSTILE},
        time_s={HOSTILE: 1.0},
    )
    h = bh.Histogram(bh.axis.Regular(2, 0, 1, metadata=HOSTILE))
    results = {HOSTILE: Result(histograms={HOSTILE: h}), "b": Result(histograms={HOSTILE: h})}
    html = page(hostile, results, [Figure(HOSTILE, "image/png", b"x")], {HOSTILE: {"skipped": HOSTILE, HOSTILE: 1.5}})
    reader = read(html)
    assert "script" not in reader.tags
    assert not [a for a in reader.attributes if a[1].startswith("on")]
    assert HOSTILE in reader.text
    assert "script" not in read(card(hostile)).tags


def test_says_what_is_missing_and_how_much_is_not_listed():
    files = tuple(FileSummary(f"{i}.root", "s", 10, 10) for i in range(MOST_FILES + 5))
    files += (FileSummary("bad.root", "s", 0, None),)
    one = summary(
        status="partial",
        events=Events(90, 100),
        chunks=Chunks(10, 8, 0, 1),
        files=files,
        failures=(ReportedFailure("bad.root", None, "missing-tree", "no tree 'nominal'"),),
    )
    text = read(page(one)).text
    assert "no tree 'nominal'" in text
    assert "90 of 100 events, and 1 file of unknown size not read" in text
    assert "1 not reached" in text
    assert "and 6 more, all in report.json" in text
    assert "bad.root" in text.split("Files")[-1], "files with a problem come first"


def test_histograms_are_drawn_or_counted():
    html = page(summary(), {"data": mass()})
    assert html.count("<svg") == 3
    assert "1 more in the result" in read(html).text
    assert "varied [nominal]" in html


def test_figures_are_embedded(tmp_path):
    (tmp_path / "fit.png").write_bytes(b"\x89PNG-bytes")
    assert read_figure(tmp_path / "fit.png").data_uri.startswith("data:image/png;base64,")
    with pytest.raises(ValueError, match="embeds"):
        read_figure(tmp_path / "fit.exe")


def test_needs_no_plotting_library():
    code = (
        "import sys; import vrecompute.reports.html, vrecompute.results.svg; "
        "sys.exit(bool({'matplotlib', 'hist', 'mplhep'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
