"""Every error that CorpGrid raises on purpose, as one tree.

Each error says what happened, why, and what to do next: ``str(error)`` is the first two, ``error.remedy``
the third (a traceback ends with it), and ``error.explain()`` all three for a terminal.  ``code`` is the stable name
that travels over the wire and in ``--json``; ``exit_code`` is what the command line exits with.

    CorpGridError
    |-- UsageError                  the caller asked for something that cannot be           exit 2
    |   |-- ConfigError             a setting is unknown, missing or out of range
    |   |-- JobFileError            a job file has a wrong or unknown field
    |   |-- BundleError             a bundle cannot be built, or is not a bundle
    |   `-- LimitError              something is larger than a named limit allows
    |-- TrustError                  a signature, digest or key did not hold                 exit 3
    |   |-- DigestError             bytes are not the bytes that were named
    |   |-- SignatureError          a signature is wrong or missing
    |   |-- UntrustedKeyError       the signature is right, its key is not trusted here
    |   `-- ExpiredError            it was valid once
    |-- DataError                   bytes that should hold data do not
    |   |-- NotDataError            a value cannot travel as data
    |   `-- MalformedDataError      bytes cannot be read as data
    |-- GridError                   the grid answered, and the answer is no                 exit 4
    |   |-- NotFoundError           no such job, task or device
    |   |   `-- CollectedError      it was there once, and is kept no more
    |   |-- ConflictError           it exists already, or is in a state that forbids this
    |   |-- RefusedError            the actor may not do this
    |   |-- UnavailableError        nobody answered in time; trying again is safe           exit 5
    |   `-- OverloadedError         the grid asks to come back later                        exit 5
    |-- JobError                    a job ended without all of its results                  exit 1
    |   |-- JobFailedError          a job ended with failed tasks
    |   |-- JobCancelledError       a job was cancelled
    |   `-- TaskFailedError         one task failed everywhere it was tried
    |-- SandboxError                the sandbox cannot be had, or refused                   exit 6
    |-- RunnerError                 a runner broke its protocol or died
    |   |-- LoadError               a runner could not load a job
    |   `-- OutputError             what a task left in its working folder is refused
    |-- StoreError                  the store failed
    |   |-- StaleError              the rows changed since they were read; the tick is retried
    |   `-- MigrationError          the schema is not the one this program needs
    `-- IllegalMoveError            a state chart forbids this move: a bug in CorpGrid      exit 70
"""

from __future__ import annotations


class CorpGridError(Exception):
    """Root of the tree.

    Args:
        message: what happened and why, one sentence.
        remedy: what the reader can do next, one sentence; a default stands on each class.
    """

    code = "error"
    exit_code = 1
    default_remedy = ""

    def __init__(self, message: str, *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy or self.default_remedy
        if self.remedy:
            self.add_note(f"-> {self.remedy}")

    def explain(self) -> str:
        """What happened, why, and what to do next, ready for a terminal."""
        return f"{self}\n  -> {self.remedy}" if self.remedy else str(self)


class UsageError(CorpGridError):
    """The caller asked for something that cannot be."""

    code = "usage"
    exit_code = 2


class ConfigError(UsageError):
    """A setting is unknown, missing or out of range."""

    code = "config"
    default_remedy = "Correct the named setting; `corpgrid doctor --settings` prints all, and where each came from."


class JobFileError(UsageError):
    """A job file has a wrong or unknown field."""

    code = "job_file"
    default_remedy = "Correct the named field; docs/reference/job-file.md lists every field."


class BundleError(UsageError):
    """A bundle cannot be built, or the bytes are not a bundle."""

    code = "bundle"
    default_remedy = "Build it again with `corpgrid bundle build`."


class LimitError(UsageError):
    """Something is larger than a named limit allows.

    Args:
        limit_name: the limit's name as it stands in the configuration.
        limit: its value, in the unit that ends its name.
        got: what was asked for.
    """

    code = "limit"

    def __init__(self, limit_name: str, *, limit: float, got: float, what: str = "", remedy: str = "") -> None:
        subject = what or "it"
        super().__init__(
            f"{subject} is {got:,} where {limit_name} allows {limit:,}",
            remedy=remedy or f"Make it smaller, or raise {limit_name}.",
        )
        self.limit_name = limit_name
        self.limit = limit
        self.got = got


class TrustError(CorpGridError):
    """A signature, digest or key did not hold."""

    code = "trust"
    exit_code = 3


class DigestError(TrustError):
    """Bytes are not the bytes that were named."""

    code = "digest"
    default_remedy = "Fetch them again; if it happens twice, the source is corrupt or hostile."


class SignatureError(TrustError):
    """A signature is wrong or missing."""

    code = "signature"
    default_remedy = "Sign it again with a key from `corpgrid key new`."


class UntrustedKeyError(TrustError):
    """The signature is right, but its key is not trusted here."""

    code = "untrusted_key"
    default_remedy = "Ask the operator to add the key's public half to the device's trusted_keys folder."


class ExpiredError(TrustError):
    """It was valid once."""

    code = "expired"
    default_remedy = "Submit it again: a new signature carries a new expiry."


class DataError(CorpGridError):
    """Bytes that should hold data do not."""

    code = "data"


class NotDataError(DataError):
    """A value cannot travel as data."""

    code = "not_data"
    default_remedy = (
        "Return None, bool, int, float, str, bytes, list, tuple, dict or NumPy arrays and scalars; "
        "write anything else to a file in the working folder."
    )


class MalformedDataError(DataError):
    """Bytes cannot be read as data."""

    code = "malformed_data"


class GridError(CorpGridError):
    """The grid answered, and the answer is no."""

    code = "grid"
    exit_code = 4


class NotFoundError(GridError):
    """No such job, task or device."""

    code = "not_found"
    default_remedy = "`corpgrid job list` and `corpgrid device list` show what there is."


class CollectedError(NotFoundError):
    """It was there once, and is kept no more."""

    code = "collected"
    default_remedy = (
        "Submit the job again, and fetch its results within scheduler.keep_days of its end; the operator can raise it."
    )


class ConflictError(GridError):
    """It exists already, or is in a state that forbids this."""

    code = "conflict"


class RefusedError(GridError):
    """The actor may not do this."""

    code = "refused"


class UnavailableError(GridError):
    """Nobody answered in time; trying again is safe."""

    code = "unavailable"
    exit_code = 5
    default_remedy = "Is the grid running?  `corpgrid up` starts one; `corpgrid doctor` says what is wrong."


class OverloadedError(GridError):
    """The grid asks to come back later.

    Args:
        retry_after_seconds: when it expects to have room again.
    """

    code = "overloaded"
    exit_code = 5
    default_remedy = "Try again in a few seconds."

    def __init__(self, message: str, *, remedy: str = "", retry_after_seconds: float = 1.0) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after_seconds = retry_after_seconds


class JobError(CorpGridError):
    """A job ended without all of its results."""

    code = "job"


class JobFailedError(JobError):
    """A job ended with failed tasks."""

    code = "job_failed"
    default_remedy = "`corpgrid job show JOB` lists the failed tasks, `corpgrid job logs JOB TASK` what they printed."


class JobCancelledError(JobError):
    """A job was cancelled."""

    code = "job_cancelled"


class TaskFailedError(JobError):
    """One task failed everywhere it was tried.

    Args:
        index: the task's position in its job, from 0.
        reason: the failure's short name, such as ``raised`` or ``wall_seconds``.
        detail: the traceback or the limit's story, as the last device reported it.
    """

    code = "task_failed"
    default_remedy = "`corpgrid job logs JOB TASK` shows what it printed."

    def __init__(self, index: int, *, reason: str, detail: str = "", remedy: str = "") -> None:
        told = [line for line in detail.splitlines() if line.strip() and not line.strip().startswith("->")]
        last_line = f": {told[-1]}" if told else ""
        super().__init__(f"task {index} failed ({reason}){last_line}", remedy=remedy)
        self.index = index
        self.reason = reason
        self.detail = detail


class SandboxError(CorpGridError):
    """The sandbox cannot be had, or refused."""

    code = "sandbox"
    exit_code = 6
    default_remedy = "`corpgrid doctor` names the gate that failed and how to open it."


class RunnerError(CorpGridError):
    """A runner broke its protocol or died."""

    code = "runner"


class LoadError(RunnerError):
    """A runner could not load a job.

    Args:
        reason: a short name: the runner's, or that of its end.
        detail: the story.
    """

    code = "load"
    default_remedy = "Correct the job's code or its packages as the story says."

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"the job cannot be loaded ({reason}): {detail.strip()}")
        self.reason = reason
        self.detail = detail


class OutputError(RunnerError):
    """What a task left in its working folder is refused.

    Args:
        reason: a short name, such as ``output_bytes`` or ``output_kind``.
        detail: which file, and why.
    """

    code = "output"
    default_remedy = "Leave plain files only, or raise the named limit in the job's limits."

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class StoreError(CorpGridError):
    """The store failed."""

    code = "store"


class StaleError(StoreError):
    """The rows changed since they were read; the tick is retried."""

    code = "stale"


class MigrationError(StoreError):
    """The schema is not the one this program needs."""

    code = "migration"
    default_remedy = "Run `corpgrid scheduler migrate`."


class IllegalMoveError(CorpGridError):
    """A state chart forbids this move: a bug in CorpGrid, never of its user.

    Args:
        subject: what was moved, such as ``task job_ab/3``.
        story: the events that led here, oldest first.
    """

    code = "illegal_move"
    exit_code = 70
    default_remedy = "Please report this with the story above."

    def __init__(self, subject: str, *, old: str, new: str, story: tuple[str, ...] = ()) -> None:
        lines = "".join(f"\n    {line}" for line in story)
        super().__init__(f"{subject} cannot move from {old} to {new}{lines}")
        self.story = story
