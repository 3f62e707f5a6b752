"""Every error vrecompute raises on purpose, as one tree.

    VrecomputeError
    ├── UsageError              what was asked for makes no sense         (exit 2)
    │   ├── ResultKept          a test, or a cancelled or failed run, would replace a complete result
    │   ├── ParameterError      unknown or badly typed analysis parameter
    │   ├── DatasetError        a dataset that names nothing, or twice
    │   ├── UnknownRun          a store has no such run, or several by that name
    │   ├── SiteError           a site's YAML is wrong; carries every problem at once
    │   ├── UntrustedRun        its code, which another user stored, would run as this user
    │   ├── UntrustedSite       a site file that was only found here decides what runs as this user
    │   └── OverBudget          more than a site lets one run use           (exit 7)
    ├── BadInput                a source cannot be used; names file and reason
    │   ├── MissingTree         the tree (TTree or RNTuple) is not in the file
    │   ├── MissingColumn       a declared column is not in the tree
    │   ├── CorruptFile         truncated, damaged, undecodable
    │   ├── ChangedFile         not the file that was planned
    │   ├── MiscountedSource    not as many events as the dataset says
    │   └── UnreadableFile      absent, or permission denied
    │       ├── TransientRead   a read that failed, also when it was tried again
    │       └── CredentialError a server asks for what is absent, expired or not accepted
    ├── AnalysisError           the analysis' own code failed; carries its traceback
    ├── StoreError              the store lost, refused or damaged an object
    │   ├── StoreFull           no space left
    │   ├── AbsentObject        there is no object of that name
    │   ├── TransientStore      a request that failed, also when it was tried again          (exit 5)
    │   ├── StoreRefused        its service accepts no request: keys, permissions, clock   (exit 5)
    │   ├── DamagedObject       an object is not what was written under its name
    │   └── OtherFormat         an object of another version of vrecompute; it is left as it is
    ├── RunError                a run did not end as promised
    │   ├── Incomplete          a result was asked for that does not exist in full         (exit 3)
    │   │   ├── Cancelled       its user ended the run                        (exit 130)
    │   │   ├── EndUnknown      its outcome is lost or damaged                (exit 4)
    │   │   └── Interrupted     its Runner is gone; it may be taken up        (exit 130)
    │   └── OutOfTime           the job ended before the run; the next one goes on      (exit 75)
    ├── OutputError             standard output cannot be written
    └── Unavailable             a site or service does not answer            (exit 5)
        └── ClusterLost         the Dask scheduler of a live run is gone, or its workers for good

Without a mark the exit code is that of the kind above, at the top 4. EXIT_CODES has them all. Each message says what
happened, where, and what to do next; causes are chained.
"""

from __future__ import annotations

from typing import ClassVar, Literal

__all__ = [
    "EXIT_CODES",
    "AbsentObject",
    "AnalysisError",
    "BadInput",
    "Cancelled",
    "ChangedFile",
    "ClusterLost",
    "CorruptFile",
    "CredentialError",
    "DamagedObject",
    "DatasetError",
    "EndUnknown",
    "Incomplete",
    "Interrupted",
    "MiscountedSource",
    "MissingColumn",
    "MissingTree",
    "OtherFormat",
    "OutOfTime",
    "OutputError",
    "OverBudget",
    "ParameterError",
    "ResultKept",
    "RunError",
    "SiteError",
    "StoreError",
    "StoreFull",
    "StoreRefused",
    "TransientRead",
    "TransientStore",
    "Unavailable",
    "UnknownRun",
    "UnreadableFile",
    "UntrustedRun",
    "UntrustedSite",
    "UsageError",
    "VrecomputeError",
]

#: What is at fault: see `BadInput`.
Scope = Literal["moment", "replica", "file"]

#: What the command line exits with, and what each code means.
EXIT_CODES = {
    0: "complete",
    2: "usage or configuration",
    3: "partial",
    4: "failed",
    5: "site or service unavailable",
    6: "nothing to do",
    7: "over budget",
    70: "a bug in vrecompute",
    75: "the job is out of time; the next one continues the run",
    130: "cancelled",
}


class VrecomputeError(Exception):
    """Anything vrecompute raises on purpose; `exit_code` is what the command line exits with."""

    exit_code = 4


class UsageError(VrecomputeError):
    """What was asked for makes no sense; nothing was started."""

    exit_code = 2


class UntrustedRun(UsageError):
    """Code that another user stored would run as this user."""


class UntrustedSite(UsageError):
    """A site file that was found in the working directory decides what runs as this user."""


class ParameterError(UsageError):
    """An analysis parameter is unknown, badly typed or out of range."""


class DatasetError(UsageError):
    """A dataset names nothing, names a source twice, or its YAML is wrong."""


class SiteError(UsageError):
    """A site's YAML is wrong; the message lists every problem with line and column."""


class ResultKept(UsageError):
    """A folder holds a complete result, which that of a test, or of a cancelled or failed run, does not replace."""


class OverBudget(UsageError):
    """More core-hours than a site lets one run use; what was finished is durable."""

    exit_code = 7


class BadInput(VrecomputeError):
    """A source cannot be used. `kind` is the word reports use for the class of failure.

    `scope` is what is at fault: this `moment`, so that the same may be tried again; this `replica`, so that another
    may do; or the `file`, wherever it lies. Any other VrecomputeError is not of data but of code, store or site.
    """

    kind = "data"
    scope: ClassVar[Scope] = "file"

    def __init__(self, file: str, reason: str) -> None:
        super().__init__(file, reason)
        self.file = file
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.file}: {self.reason}"


class MissingTree(BadInput):
    """The tree is not in the file."""

    kind = "missing-tree"


class MissingColumn(BadInput):
    """A declared column is not in the tree."""

    kind = "missing-column"


class CorruptFile(BadInput):
    """The file is truncated, damaged or cannot be decoded."""

    kind = "corrupt"
    scope: ClassVar[Scope] = "replica"


class ChangedFile(BadInput):
    """The file is not the one that was planned: its UUID, size or entries differ."""

    kind = "changed"
    scope: ClassVar[Scope] = "replica"


class MiscountedSource(BadInput):
    """The file holds another number of events than the dataset says, fewer or more."""

    kind = "entries"
    scope: ClassVar[Scope] = "replica"


class UnreadableFile(BadInput):
    """The file is absent, or permission is denied."""

    kind = "unreadable"
    scope: ClassVar[Scope] = "replica"


class TransientRead(UnreadableFile):
    """The file system failed in a way that may pass; it was read again several times, and failed each time."""

    scope: ClassVar[Scope] = "moment"


class CredentialError(UnreadableFile):
    """A server asks for a credential that is absent, expired or not accepted; what else it serves needs it too.

    The run ends unless a replica gives the file; what it has finished is kept.
    """

    kind = "credentials"


class AnalysisError(VrecomputeError):
    """The analysis' own code failed; the message ends with its traceback."""


class StoreError(VrecomputeError):
    """The store lost, refused or damaged an object."""


class StoreFull(StoreError):
    """The store has no space left; nothing that was durable is lost."""


class DamagedObject(StoreError):
    """An object is not what was written under its name; what can be made again is, and the object is set aside."""


class AbsentObject(StoreError):
    """A store has no object of that name."""


class TransientStore(StoreError):
    """A request to a store failed in passing, and again each time it was tried."""

    exit_code = 5


class StoreRefused(StoreError):
    """The service of a store accepts no request of this user: keys, permissions, bucket or clock must be put right.

    Every other request would fail as well. What was written is durable, and the run can be taken up.
    """

    exit_code = 5


class OtherFormat(StoreError):
    """An object was written by another version of vrecompute; it is left as it is."""


class RunError(VrecomputeError):
    """A run did not end as promised."""


class UnknownRun(UsageError, RunError):
    """A store has no run of that name, or several that it may mean."""


class Incomplete(RunError):
    """A complete result was asked for and does not exist; the message says what is missing."""

    exit_code = 3


class Cancelled(Incomplete):
    """The result was asked for of a run that its user ended; what is finished is durable, and reused."""

    exit_code = 130

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: the sentence alone, as nothing went wrong."""
        return [str(self)]


class EndUnknown(Incomplete):
    """How a run ended is not known: its outcome is lost or damaged. It may be carried out again, from what is left."""

    exit_code = 4


class Interrupted(Incomplete):
    """The Runner of a run is gone before its end; what is finished is durable, and the run may be taken up."""

    exit_code = 130


class OutOfTime(RunError):
    """The Runner's own job is at its end and the run is not; what it computed is durable, and the next job goes on.

    Raised only where that is more than before, so that a run which is started again each time comes to its end.
    """

    exit_code = 75  # EX_TEMPFAIL of sysexits(3)


class OutputError(VrecomputeError):
    """Standard output, or a file that was asked for, cannot be written; what was done is in the store all the same."""


class Unavailable(VrecomputeError):
    """A site or service does not answer. `mend` is the key of the site's file that this is about, where one is."""

    exit_code = 5

    def __init__(self, message: str = "", *, mend: str = "") -> None:
        super().__init__(message)
        self.mend = mend


class ClusterLost(Unavailable):
    """The Dask scheduler of a live run is gone, or its workers for good.

    What was finished is durable, and another cluster can go on; `was_waited_for` where workers had their time, so that
    it is not tried again by itself.
    """

    def __init__(self, message: str, *, was_waited_for: bool = False) -> None:
        super().__init__(message)
        self.was_waited_for = was_waited_for
