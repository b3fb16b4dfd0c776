"""What a submitter asks for besides code and arguments; checked here, before anything is sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, TypedDict, TypeVar

from corpgrid.config import ClientConfig
from corpgrid.domain.ids import DIGEST_BYTES, Digest
from corpgrid.domain.job import Arguments, Isolation, JobSpec, Limits, Requirements, VerifyMode, VerifyPolicy
from corpgrid.errors import UsageError
from corpgrid.sdk.packages import Packages
from corpgrid.trust.jobspec import encode_spec

_DAY_SECONDS = 86_400.0
_T = TypeVar("_T")
_Word = TypeVar("_Word", bound=StrEnum)
_NO_DIGEST = Digest(bytes(DIGEST_BYTES))
_NO_ARGUMENTS = Arguments(tasks=1, page_tasks=1, pages=_NO_DIGEST)


class Options(TypedDict, total=False):
    """What ``Grid.map`` takes besides a function and its arguments; it explains them."""

    name: str
    packages: Packages | None
    inputs: Mapping[str, Path | str] | None
    verify: VerifyPolicy | VerifyMode | str
    requirements: Requirements | None
    limits: Limits | None
    isolation: Isolation | str
    priority: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What a submitter asks for.

    Attributes:
        expires_seconds: how long after its submission devices may start it.
    """

    name: str
    tenant: str
    expires_seconds: float
    inputs: Mapping[str, Path] = field(default_factory=dict)
    verify: VerifyPolicy = field(default_factory=VerifyPolicy)
    requirements: Requirements = field(default_factory=Requirements)
    limits: Limits = field(default_factory=Limits)
    isolation: Isolation = Isolation.JOB
    priority: int = 50

    def spec(  # noqa: PLR0913 - what a signed job has besides
        self,
        *,
        bundle: Digest = _NO_DIGEST,
        arguments: Arguments = _NO_ARGUMENTS,
        inputs: Mapping[str, Digest] | None = None,
        requirements: Requirements | None = None,
        now: float = 0.0,
        nonce: str = "none",
    ) -> JobSpec:
        """The job's specification, once all blobs are known."""
        return JobSpec(
            name=self.name,
            bundle=bundle,
            arguments=arguments,
            not_after=now + self.expires_seconds,
            nonce=nonce,
            inputs=dict.fromkeys(self.inputs, _NO_DIGEST) if inputs is None else inputs,
            requirements=requirements or self.requirements,
            limits=self.limits,
            verify=self.verify,
            isolation=self.isolation,
            priority=self.priority,
            tenant=self.tenant,
        )

    def check(self) -> None:
        """See that every field is in its range, and every input can be read.

        Raises:
            JobFileError: a field is not; the message names it and what is accepted.
            UsageError: an input cannot be read.
        """
        encode_spec(self.spec())
        for name, path in self.inputs.items():
            try:
                path.open("rb").close()
            except OSError as error:
                raise UsageError(
                    f"inputs: {name} is {str(path)!r}, which cannot be read: {error.strerror}",
                    remedy="Name a file that this user can read.",
                ) from error


def make_request(options: Options, config: ClientConfig, *, name: str, known: Request | None = None) -> Request:
    """The request that these options stand for, checked.

    Args:
        options: what the submitter gave.
        config: what holds for all that is submitted from here.
        name: of the job, if the options give none.
        known: one that was checked before: its like need not be, for a program asks for the same again and again.

    Raises:
        UsageError: an option is of the wrong kind or out of range.
    """
    request = Request(
        name=options.get("name") or name,
        tenant=config.tenant,
        expires_seconds=config.job_days * _DAY_SECONDS,
        inputs={name: Path(path) for name, path in (options.get("inputs") or {}).items()},
        verify=as_policy(options.get("verify", VerifyMode.AUDIT)),
        requirements=_of_kind("requirements", options.get("requirements") or Requirements(), Requirements),
        limits=_of_kind("limits", options.get("limits") or Limits(), Limits),
        isolation=as_member("isolation", options.get("isolation", Isolation.JOB), Isolation),
        priority=options.get("priority", 50),
    )
    if request.inputs or request != known:
        request.check()
    return request


def as_policy(verify: VerifyPolicy | VerifyMode | str) -> VerifyPolicy:
    """A policy from a policy, a mode, or a mode's name."""
    if isinstance(verify, VerifyPolicy):
        return verify
    return VerifyPolicy(mode=as_member("verify", verify, VerifyMode))


def as_member(name: str, value: Any, kind: type[_Word]) -> _Word:
    """A member of an enumeration, or the one of this name.

    Raises:
        UsageError: there is none.
    """
    try:
        return kind(value)
    except ValueError:
        words = ", ".join(kind)
        raise UsageError(f"{name} is {value!r}, which it cannot be", remedy=f"It can be {words}.") from None


def _of_kind(name: str, value: Any, kind: type[_T]) -> _T:
    if not isinstance(value, kind):
        raise UsageError(f"{name} is {value!r}, which is no {kind.__name__}", remedy=f"Give a {kind.__name__}.")
    return value
