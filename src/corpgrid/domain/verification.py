"""Why an accepted result can be believed: what each verify mode says of a task, given its attempts.

``judge`` is called whenever an attempt of a task ended, and looks at all of them afresh, so that it does not matter in
which order they came.  It knows nothing of leases or rows; ``domain.intake`` carries out what it says.

* **none, trusted**: the first result stands.
* **audit** (the default): the first result is *committed*; only then is it decided, by a keyed coin that no device can
  foresee, whether somebody of another owner does the task again.  If the two agree the result is final.  If not, more
  copies are run until two agree; whoever is not among those who agree has lied, or is broken.
* **quorum**: a canonical result matches at least ``min_copies // 2 + 1`` copies; no reply is not an error.
* **tiers**: the number of copies follows the reputation of the device that answered first; a majority of them decides.

Nobody is ever found guilty by one voice against one: it takes two equal results of different owners, or two of a
trusted device.  A task on which no two devices agree fails with ``no_agreement``, and nobody is blamed: such a task is
not deterministic under its comparator.
"""

from __future__ import annotations

import hmac
import math
import struct
from collections.abc import Callable, Sequence
from typing import NamedTuple

from corpgrid.domain.attempt import LIVE, Attempt, AttemptState
from corpgrid.domain.ids import DeviceId, JobId
from corpgrid.domain.job import Limits, Purpose, VerifyMode, VerifyPolicy
from corpgrid.domain.reputation import Tier, copies

PROBATION_TASKS = 10
BAD_SHARE = 0.05
SABOTAGE_RATE = 0.2
RATE_FLOOR = 0.02
AGREE_MIN = 2
DRAWS = 16

Same = Callable[[Attempt, Attempt], bool]

_VALID = frozenset({AttemptState.RETURNED, AttemptState.ACCEPTED})
_COUNTED = frozenset({AttemptState.CRASHED, AttemptState.REFUSED})
_UNCOUNTED = frozenset({AttemptState.STOPPED})
_COMPARING = frozenset({VerifyMode.QUORUM, VerifyMode.TIERS})


class Verdict(NamedTuple):
    """What is to be done with a task.

    Attributes:
        accepted: number of the attempt whose result stands, or -1.
        final: whether it stands for good.
        want: copies wanted beyond those that are out.
        purpose: why they are wanted.
        winners: numbers of attempts proven right by a comparison.
        losers: numbers of attempts proven wrong by one.
        failed: why the task fails, or empty.
    """

    accepted: int = -1
    final: bool = False
    want: int = 0
    purpose: Purpose = Purpose.PRIMARY
    winners: tuple[int, ...] = ()
    losers: tuple[int, ...] = ()
    failed: str = ""


class Circumstances(NamedTuple):
    """What ``judge`` must know besides the attempts.

    Attributes:
        same: whether two returned results agree under the job's comparator.
        trusted: whether the operator trusts a device.
        tier: the correctness tier of a device.
        audit_due: asked once, when a result is committed: is it to be audited?
        alone: whether nobody but the owner of this attempt could take a copy.
    """

    same: Same
    trusted: Callable[[DeviceId], bool]
    tier: Callable[[DeviceId], Tier]
    audit_due: Callable[[Attempt], bool]
    alone: Callable[[Attempt], bool]


def judge(
    policy: VerifyPolicy, limits: Limits, attempts: Sequence[Attempt], *, copies_out: int, given: Circumstances
) -> Verdict:
    """The verdict on a task one of whose attempts has just ended.

    Args:
        policy: how the job's results are verified.
        limits: what its tasks may take.
        attempts: all attempts of the task.
        copies_out: copies that a device holds or that wait for one.
        given: the rest of what must be known.
    """
    valid = [attempt for attempt in attempts if attempt.state in _VALID]
    verdict = _judge_results(policy, valid, copies_out, given)
    if verdict.final or not verdict.want:
        return verdict
    left = _copies_left(policy, attempts, copies_out)
    reason = _failed_too_often(policy, limits, attempts) or ("" if left or copies_out else _no_copy_left(valid))
    if not reason:
        return verdict._replace(want=min(verdict.want, left))
    if verdict.accepted >= 0 and len(valid) == 1 and given.trusted(valid[0].device):
        return Verdict(accepted=verdict.accepted, final=True)
    return Verdict(failed=reason)


def unchecked(policy: VerifyPolicy, attempt: Attempt, given: Circumstances) -> Verdict | None:
    """What ``judge`` says of a task whose only copy this is, if it returned and is not to be audited.

    It is the same for all results of one device for one job, so that a batch needs to ask but once.  None: the mode
    compares every result with others.
    """
    if policy.mode in _COMPARING:
        return None
    return _judge_results(policy, [attempt], 0, given._replace(audit_due=lambda _: False))


def _judge_results(policy: VerifyPolicy, valid: list[Attempt], copies_out: int, given: Circumstances) -> Verdict:
    if not valid:
        wanted = initial_copies(policy) if policy.mode is VerifyMode.QUORUM else 1
        return Verdict(want=max(wanted - copies_out, 0))
    match policy.mode:
        case VerifyMode.NONE | VerifyMode.TRUSTED:
            return Verdict(accepted=valid[0].number, final=True)
        case VerifyMode.AUDIT:
            return _judge_audit(valid, copies_out, given)
        case VerifyMode.QUORUM:
            matches = policy.min_copies // 2 + 1
            return _judge_majority(valid, copies_out, given, wanted=policy.target_copies, matches=matches)
        case VerifyMode.TIERS:
            wanted = copies(given.tier(valid[0].device), policy.min_copies)
            return _judge_majority(valid, copies_out, given, wanted=wanted, matches=wanted // 2 + 1)


def _judge_audit(valid: list[Attempt], copies_out: int, given: Circumstances) -> Verdict:
    if len(valid) == 1:
        return _commit(valid[0], copies_out, given)
    agreed = largest_agreement(valid, given)
    if len(agreed) >= AGREE_MIN:
        return Verdict(accepted=agreed[0], final=True, winners=agreed, losers=_others(valid, agreed))
    return Verdict(accepted=valid[0].number, want=0 if copies_out else 1, purpose=Purpose.ARBITER)


def _commit(attempt: Attempt, copies_out: int, given: Circumstances) -> Verdict:
    """One result is there: final at once, or provisional with or without an audit."""
    if given.trusted(attempt.device) and given.alone(attempt):
        return Verdict(accepted=attempt.number, final=True)
    due = attempt.state is AttemptState.ACCEPTED or given.audit_due(attempt)
    return Verdict(accepted=attempt.number, want=1 if due and not copies_out else 0, purpose=Purpose.AUDIT)


def _judge_majority(
    valid: list[Attempt], copies_out: int, given: Circumstances, *, wanted: int, matches: int
) -> Verdict:
    agreed = largest_agreement(valid, given)
    if len(agreed) >= matches:
        proven = len(agreed) >= AGREE_MIN
        losers = _others(valid, agreed) if proven else ()
        return Verdict(accepted=agreed[0], final=True, winners=agreed if proven else (), losers=losers)
    missing = wanted - len(valid) - copies_out
    if missing <= 0 and not copies_out:
        return Verdict(want=1, purpose=Purpose.ARBITER)
    return Verdict(want=max(missing, 0))


def largest_agreement(valid: Sequence[Attempt], given: Circumstances) -> tuple[int, ...]:
    """Numbers of the results that decide: the largest set that matches one of them, which stands first.

    Agreement within a tolerance is not transitive, so each set is taken around one result.  Where a trusted device has
    answered, only a set with a trusted result in it can be larger than one: nobody outvotes the operator.
    """
    trusted = {attempt.number for attempt in valid if given.trusted(attempt.device)}
    best: tuple[int, ...] = ()
    for centre in valid:
        others = [other for other in valid if other is not centre and given.same(centre, other)]
        group = (centre.number, *(other.number for other in others))
        if trusted and trusted.isdisjoint(group):
            group = group[:1]
        if len(group) > len(best):
            best = group
    return best


def _others(valid: Sequence[Attempt], agreed: Sequence[int]) -> tuple[int, ...]:
    return tuple(attempt.number for attempt in valid if attempt.number not in agreed)


def _failed_too_often(policy: VerifyPolicy, limits: Limits, attempts: Sequence[Attempt]) -> str:
    """Why a task fails that failed so often, or empty."""
    failures = [attempt for attempt in attempts if attempt.state in _COUNTED]
    allowed = policy.max_error if policy.mode is VerifyMode.QUORUM else limits.max_attempts
    if not failures or len(failures) < allowed:
        return ""
    return failures[-1].reason or failures[-1].state.value


def _copies_left(policy: VerifyPolicy, attempts: Sequence[Attempt], copies_out: int) -> int:
    """How many more copies ``max_total`` allows beyond those that are out."""
    spent = sum(attempt.state not in _UNCOUNTED and attempt.state not in LIVE for attempt in attempts)
    return max(policy.max_total - spent - copies_out, 0)


def _no_copy_left(valid: Sequence[Attempt]) -> str:
    """Why a task fails that may have no more copies."""
    return "no_agreement" if len(valid) >= AGREE_MIN else "max_total"


def initial_copies(policy: VerifyPolicy) -> int:
    """Copies of a task that are wanted at first."""
    return policy.target_copies if policy.mode is VerifyMode.QUORUM else 1


def audit_rate(policy: VerifyPolicy, *, tasks: int, devices: int) -> float:
    """The share of committed results to audit, 0 to 1.

    ``q >= ln(f s (1 - s)^p / eps) / (s (N - p))`` for N tasks a device, a share f of bad devices that sabotage a
    share s of their tasks, and p tasks of probation; never below ``RATE_FLOOR``.
    """
    if policy.mode is not VerifyMode.AUDIT:
        return 0.0
    if policy.rate is not None:
        return policy.rate
    beyond_probation = tasks / max(devices, 1) - PROBATION_TASKS
    risk = BAD_SHARE * SABOTAGE_RATE * (1 - SABOTAGE_RATE) ** PROBATION_TASKS / policy.eps
    if risk <= 1:
        return RATE_FLOOR
    if beyond_probation <= 0:
        return 1.0
    return min(1.0, max(RATE_FLOOR, math.log(risk) / (SABOTAGE_RATE * beyond_probation)))


def error_bound(rate: float, *, tasks: int, devices: int) -> float:
    """The bound on the share of wrong accepted results against liars who choose the worst sabotage rate.

    ``f (1 - q) / (q e N)`` for N tasks a device, and never above the share of bad devices.
    """
    if rate <= 0:
        return BAD_SHARE
    per_device = max(tasks / max(devices, 1), 1.0)
    return min(BAD_SHARE, BAD_SHARE * (1 - rate) / (rate * math.e * per_device))


def audit_coin(key: bytes, job: JobId, index: int, attempt: int, *, rate: float) -> bool:
    """Whether this committed result is audited: a coin that only the key's holders can foresee, the same each time."""
    return keyed_draws(key, job, index // DRAWS, attempt)[index % DRAWS] < rate


def keyed_draws(key: bytes, job: JobId, block: int, attempt: int) -> tuple[float, ...]:
    """Numbers in [0, 1) for tasks ``DRAWS * block`` and on, which depend on the key, the job and the attempt alone.

    Each is its own 32 bits of one HMAC-SHA-512, so that a batch of short tasks costs a few digests, not hundreds.
    """
    mark = hmac.digest(key, b"%s/%d/%d" % (job.encode(), block, attempt), "sha512")
    return tuple(word / (1 << 32) for word in struct.unpack(f">{DRAWS}I", mark))
