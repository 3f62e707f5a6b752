"""What became of attempts that were under way: takes over what was left, collects what ended, publishes products."""

from __future__ import annotations

import time
from collections.abc import Container, Mapping

from vrecompute.attachedrun import AttachedRun
from vrecompute.batch.contract import SubmitError
from vrecompute.campaign.attempts import Attempt, open_attempts
from vrecompute.campaign.ledger import LeaseLost, Ledger
from vrecompute.campaign.load import CampaignFile
from vrecompute.campaign.policy import after_failure
from vrecompute.campaign.products import Products
from vrecompute.campaign.sites import Sites
from vrecompute.campaign.tally import Tally
from vrecompute.campaign.wanted import Wanted
from vrecompute.errors import UnknownRun, UntrustedRun, VrecomputeError
from vrecompute.execution.failure import Failure
from vrecompute.reports.report import RunSummary

__all__ = ["Collector"]

# A job that died with its node or at its walltime is no fault of the unit: it is tried that many times as often.
_INFRASTRUCTURE = 5
_ENDED = frozenset({"complete", "partial", "failed"})


class Collector:
    """Looks at each open attempt once a call, and takes it over, from whatever tick submitted it, at the first."""

    def __init__(self, file: CampaignFile, ledger: Ledger, sites: Sites, products: Products, tally: Tally) -> None:
        self._file = file
        self._ledger = ledger
        self._sites = sites
        self._products = products
        self._tally = tally
        self._wanted: Mapping[str, Wanted] = {}
        self._taken_over: set[int] = set()

    def collect(self, wanted: Mapping[str, Wanted]) -> int:
        """Look at all; `wanted` are the units as they are wanted now, as far as that is known.

        Gives how many could not be looked at, or not be published.
        """
        self._wanted = wanted
        stuck = 0
        for attempt in open_attempts(self._ledger):
            try:
                self._look(attempt)
            except LeaseLost:
                raise
            except VrecomputeError as error:  # of one attempt; the others go on
                self._tally.error(error, attempt.unit)
                stuck += 1
        return stuck

    def restore(self, wanted: Container[str]) -> None:
        """Publish again what is not the current version of one of these units, though the ledger has it so.

        A tick that was suspended while it published, and taken over, has put its own there; or a hand.
        """
        published = "SELECT a.* FROM units u JOIN attempts a ON a.run = u.published_run ORDER BY a.unit"
        for attempt in map(Attempt.of, self._ledger.rows(published)):
            if attempt.unit not in wanted:
                continue
            try:
                self._restore(attempt)
            except LeaseLost:
                raise
            except VrecomputeError as error:
                self._tally.error(error, attempt.unit)

    def _restore(self, attempt: Attempt) -> None:
        current = self._products.current(attempt.unit)
        if current == attempt.run:
            return
        try:
            run = self._attached(attempt)
        except UnknownRun:
            with self._ledger.writing():  # parts of it are reused
                self._ledger.do(
                    "UPDATE units SET published = NULL, published_run = NULL WHERE unit = ?", (attempt.unit,)
                )
                self._ledger.note("product lost", attempt.unit, attempt.run, reason="its run is gone too; made again")
            return
        self._products.publish(attempt.unit, run, self._facts(attempt, run.report()), self._ledger.check)
        with self._ledger.writing():
            self._ledger.note("published again", attempt.unit, attempt.run, instead=current or "nothing")
        self._tally.done["published again"] += 1

    def _attached(self, attempt: Attempt) -> AttachedRun:
        """Its run, whose code is trusted where it is the one that this campaign wrote; UnknownRun where it is gone."""
        client = self._sites.called(attempt.site)
        return client.attach(attempt.run, exact=True, manifest_sha256=attempt.manifest_sha256)

    def _look(self, attempt: Attempt) -> None:
        try:
            run = self._attached(attempt)
        except UnknownRun:
            if attempt.state == "submitted":
                self._failed(attempt, "its run is not in the store any more", None)
            return  # one that was only planned is begun, or dropped, with what is submitted
        status = run.status
        if status not in {*_ENDED, "cancelled", "refused", "over budget"} and attempt.number not in self._taken_over:
            # whatever became of the tick that submitted it: one job at most, and no job left behind
            is_lost = status == "interrupted" and run.job_status() is None  # its job may be there all the same
            if attempt.state == "planned" or is_lost or status in {"queued", "running", "unknown"}:
                try:
                    jobs = run.hand_over(self._file.campaign.workers, self._file.campaign.walltime)
                except UntrustedRun:
                    if attempt.state != "planned" or attempt.manifest_sha256 is not None:
                        raise
                    # its tick was killed before it could say which manifest it wrote, and submitted nothing
                    client = self._sites.called(attempt.site)
                    client.delete(attempt.run, exact=True)
                    return
                if attempt.state == "planned":
                    with self._ledger.writing():
                        attempt.submitted(self._ledger, attempt.site, ", ".join(jobs[:3]))
                    self._tally.done["submitted"] += 1
                status = run.status
            self._taken_over.add(attempt.number)
        if self._is_superseded(attempt) and status in {"queued", "running"}:
            run.cancel()
            with self._ledger.writing():
                self._ledger.note("superseded", attempt.unit, attempt.run)
            return
        try:
            if run.is_live():
                return
        except SubmitError as never:
            run.cancel()
            self._failed(attempt, str(never), run)
            return
        self._ended(attempt, run, run.status)

    def _is_superseded(self, attempt: Attempt) -> bool:
        """Whether its analysis is not what is wanted any more."""
        now = self._wanted.get(attempt.unit)
        return now is not None and now.identity != attempt.identity

    def _ended(self, attempt: Attempt, run: AttachedRun, status: str) -> None:
        if status not in _ENDED:
            if self._is_superseded(attempt) and status == "cancelled":
                with self._ledger.writing():
                    attempt.void(self._ledger, "what is wanted changed while it was under way")
                return
            job = run.job_status()
            self._failed(
                attempt, str(run.where()), run, infrastructure=job is not None and job.blame == "infrastructure"
            )
            return
        report = run.report()
        if report.status != "complete":
            self._not_complete(attempt, run, report)
            return
        moved = ""
        if attempt.covers:
            moved = self._products.publish(attempt.unit, run, self._facts(attempt, report), self._ledger.check)
        with self._ledger.writing():
            self._write_end(attempt, report, "")
            self._ledger.do(
                "UPDATE units SET failures = 0, next_try = 0, quarantined = 0, reason = '' WHERE unit = ?",
                (attempt.unit,),
            )
            for address in self._ledger.listing(attempt.listing):
                self._ledger.do("DELETE FROM troubles WHERE unit = ? AND address = ?", (attempt.unit, address))
            if attempt.covers:
                self._ledger.do(
                    "UPDATE units SET published = ?, published_run = ?, published_at = ?, result_sha256 = ? "
                    "WHERE unit = ?",
                    (attempt.want, attempt.run, time.time(), report.result_sha256, attempt.unit),
                )
                self._ledger.note("published", attempt.unit, attempt.run, result=report.result_sha256, moved=moved)
        self._tally.done["published" if attempt.covers else "done in part"] += 1

    def _facts(self, attempt: Attempt, report: RunSummary) -> dict[str, object]:
        """What a version of a product is made of."""
        left_out = self._ledger.rows(
            "SELECT address, kind, reason FROM troubles WHERE unit = ? AND quarantined ORDER BY address",
            (attempt.unit,),
        )
        inputs = self._ledger.listing(attempt.listing)
        return {
            "campaign": self._file.campaign.name,
            "unit": attempt.unit,
            "run": attempt.run,
            "want": attempt.want,
            "identity": dict(attempt.parts),
            "inputs": len(inputs),
            "left_out": [dict(row) for row in left_out if row["address"] not in inputs],
            "result_sha256": report.result_sha256,
            "events": report.events.seen,
            "before": self._products.current(attempt.unit),
        }

    def _not_complete(self, attempt: Attempt, run: AttachedRun, report: RunSummary) -> None:
        """Files that failed are charged themselves; anything else is the unit's own."""
        inputs = self._ledger.listing(attempt.listing)
        failed = {f.file: f for f in report.failures if f.file in inputs and Failure(f.file, "", f.kind, "").skippable}
        others = [f for f in report.failures if f.file not in failed]
        if others or not failed:
            why = "; ".join(f"{f.file}: {f.kind}: {f.reason}" for f in others[:1]) or "; ".join(report.warnings[:1])
            self._failed(attempt, why or f"its run ended {report.status}", run, report=report)
            return
        unit = self._wanted.get(attempt.unit)
        stamps = inputs if unit is None else unit.found.stamps
        bad = {address: f for address, f in failed.items() if stamps.get(address) == inputs[address]}
        if not bad:  # nothing is wrong with what is there now
            with self._ledger.writing():
                self._write_end(attempt, report, f"{len(failed)} files vanished or changed while it was at work")
            self._tally.done["overtaken"] += 1
            return
        campaign, now = self._file.campaign, time.time()
        quarantined = 0
        with self._ledger.writing():
            self._write_end(attempt, report, f"{len(bad)} files failed")
            for address, failure in bad.items():
                known = self._ledger.row(
                    "SELECT failures FROM troubles WHERE unit = ? AND address = ? AND stamp = ?",
                    (attempt.unit, address, inputs[address]),
                )
                failures = 1 if known is None else known["failures"] + 1
                verdict = after_failure(failures, now, campaign.retry, campaign.quarantine)
                self._ledger.do(
                    "INSERT OR REPLACE INTO troubles VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        attempt.unit,
                        address,
                        inputs[address],
                        failures,
                        int(verdict.quarantined),
                        verdict.next_try,
                        failure.kind,
                        failure.reason,
                    ),
                )
                word = "input quarantined" if verdict.quarantined else "input failed"
                self._ledger.note(word, attempt.unit, address, failures=failures, kind=failure.kind, run=attempt.run)
                quarantined += verdict.quarantined
        self._tally.done["inputs failed"] += len(bad)
        first = next(iter(bad.values()))
        more = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
        what = f"{quarantined} in quarantine" if quarantined else "tried again later"
        self._tally.trouble(f"{attempt.unit}: {first.file}: {first.kind}: {first.reason}{more}; {what}", 3)

    def _failed(
        self,
        attempt: Attempt,
        why: str,
        run: AttachedRun | None,
        *,
        infrastructure: bool = False,
        report: RunSummary | None = None,
    ) -> None:
        """An end that is no file's fault."""
        campaign = self._file.campaign
        row = self._ledger.row("SELECT failures FROM units WHERE unit = ?", (attempt.unit,))
        failures = 1 if row is None else row["failures"] + 1
        often = _INFRASTRUCTURE if infrastructure else 1
        verdict = after_failure(-(-failures // often), time.time(), campaign.retry, campaign.quarantine)
        with self._ledger.writing():
            self._write_end(attempt, report, why)
            self._ledger.do(
                "UPDATE units SET failures = ?, next_try = ?, quarantined = ?, reason = ? WHERE unit = ?",
                (failures, verdict.next_try, int(verdict.quarantined), why, attempt.unit),
            )
            word = "unit quarantined" if verdict.quarantined else "failed"
            self._ledger.note(word, attempt.unit, attempt.run, reason=why, failures=failures)
        self._tally.done["failed"] += 1
        self._tally.trouble(f"{attempt.unit}: {why}" + ("; in quarantine" if verdict.quarantined else ""), 4)

    def _write_end(self, attempt: Attempt, report: RunSummary | None, reason: str) -> None:
        """How it ended, within `writing`; without a report it costs what was estimated."""
        self._ledger.do(
            "UPDATE attempts SET state = 'ended', ended = ?, status = ?, reason = ? WHERE number = ?",
            (time.time(), report.status if report else "lost", reason, attempt.number),
        )
        if report is not None:
            self._ledger.do(
                "UPDATE attempts SET core_s = ?, result_sha256 = ?, events = ?, chunks_computed = ?, "
                "chunks_reused = ? WHERE number = ?",
                (
                    sum(report.in_tasks.values()),
                    report.result_sha256,
                    report.events.seen,
                    report.chunks.computed,
                    report.chunks.reused,
                    attempt.number,
                ),
            )
            self._ledger.note("ended", attempt.unit, attempt.run, status=report.status)
