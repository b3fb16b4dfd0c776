"""The fields of a signed job specification, each with its type and range (docs/reference/job-file.md explains them).

``JOB`` writes a ``JobSpec`` as JSON's types and reads it back; every field is written, also where it has its default,
so that the meaning of what was signed never changes with a later default.
"""

from __future__ import annotations

from corpgrid.domain.job import (
    Arguments,
    Comparator,
    ComparatorKind,
    Isolation,
    JobSpec,
    Limits,
    Requirements,
    VerifyMode,
    VerifyPolicy,
)
from corpgrid.trust import limits
from corpgrid.trust.fields import (
    HASH,
    choice,
    files,
    many,
    maybe,
    member,
    pattern,
    real,
    record,
    remembered,
    text,
    whole,
)

ENGINES = ("python", "command", "wasm", "cuda", "metal", "wgsl", "onnx")
OPERATING_SYSTEMS = ("linux", "macos", "windows")
ARCHITECTURES = ("x86_64", "arm64")
GPU_BACKENDS = ("cuda", "metal", "vulkan")

ENGINE = choice(*ENGINES)
PYTHON_MINOR = pattern(r"|3\.[1-9]?[0-9]", "empty, or a minor version of Python such as '3.11'")
_WORDS = many(text(128, least=1), limits.MAX_WORDS)
_TOLERANCE = real(0.0, 1e300)
_REMEMBERED = 64
"""A submitter's jobs ask for the same, one after another."""


def _fault_of_arguments(arguments: Arguments) -> str:
    pages = page_count(arguments)
    if pages > limits.MAX_PAGES:
        return f"page_tasks makes {pages:,} pages where MAX_PAGES allows {limits.MAX_PAGES:,}; put more in one page"
    return ""


def _fault_of_policy(policy: VerifyPolicy) -> str:
    if policy.mode is VerifyMode.QUORUM and policy.target_copies < policy.min_copies:
        return f"target_copies is {policy.target_copies}; it must be at least min_copies, {policy.min_copies}"
    if policy.mode is VerifyMode.QUORUM and policy.max_total < policy.target_copies:
        return f"max_total is {policy.max_total}; it must be at least target_copies, {policy.target_copies}"
    return ""


def page_count(arguments: Arguments) -> int:
    """How many pages these arguments fill."""
    return -(-arguments.tasks // arguments.page_tasks)


_ARGUMENTS = record(
    Arguments,
    {
        "tasks": whole(1, limits.MAX_TASKS),
        "page_tasks": whole(1, limits.MAX_PAGE_TASKS),
        "pages": HASH,
    },
    rule=_fault_of_arguments,
)

_REQUIREMENTS = record(
    Requirements,
    {
        "engine": ENGINE,
        "operating_systems": many(choice(*OPERATING_SYSTEMS), len(OPERATING_SYSTEMS)),
        "architectures": many(choice(*ARCHITECTURES), len(ARCHITECTURES)),
        "python": PYTHON_MINOR,
        "memory_bytes": whole(0, limits.MAX_MEMORY_BYTES),
        "disk_bytes": whole(0, limits.MAX_OUTPUT_BYTES),
        "cpus": whole(1, limits.MAX_CPUS),
        "gpus": whole(0, limits.MAX_GPUS),
        "gpu_backend": choice("", *GPU_BACKENDS),
        "vram_bytes": whole(0, limits.MAX_MEMORY_BYTES),
        "sites": _WORDS,
        "owners": _WORDS,
        "labels": _WORDS,
    },
)

_LIMITS = record(
    Limits,
    {
        "wall_seconds": real(0.001, limits.MAX_WALL_SECONDS),
        "memory_bytes": whole(limits.MIB, limits.MAX_MEMORY_BYTES),
        "processes": whole(1, limits.MAX_PROCESSES),
        "output_bytes": whole(0, limits.MAX_OUTPUT_BYTES),
        "output_files": whole(0, limits.MAX_OUTPUT_FILES),
        "output_depth": whole(0, limits.MAX_OUTPUT_DEPTH),
        "log_bytes": whole(0, limits.MAX_LOG_BYTES),
        "result_bytes": whole(1, limits.MAX_RESULT_BYTES),
        "max_attempts": whole(1, limits.MAX_ATTEMPTS),
    },
)

_COMPARATOR = record(
    Comparator,
    {"kind": member(ComparatorKind), "rtol": _TOLERANCE, "atol": _TOLERANCE, "relative_l2": _TOLERANCE},
)

_VERIFY = record(
    VerifyPolicy,
    {
        "mode": member(VerifyMode),
        "rate": maybe(real(0.0, 1.0)),
        "eps": real(1e-12, 1.0),
        "min_copies": whole(1, limits.MAX_COPIES),
        "target_copies": whole(1, limits.MAX_COPIES),
        "max_error": whole(0, limits.MAX_ATTEMPTS),
        "max_total": whole(1, limits.MAX_ATTEMPTS),
        "comparator": _COMPARATOR,
    },
    rule=_fault_of_policy,
)

JOB = record(
    JobSpec,
    {
        "name": text(limits.MAX_NAME_CHARACTERS, least=1),
        "bundle": HASH,
        "arguments": _ARGUMENTS,
        "not_after": real(0.0, limits.LAST_SECOND),
        "nonce": pattern(r"[A-Za-z0-9_-]{1,64}", "1 to 64 letters, digits, '_' and '-'"),
        "inputs": files(HASH, limits.MAX_INPUTS),
        "requirements": remembered(_REQUIREMENTS, _REMEMBERED),
        "limits": remembered(_LIMITS, _REMEMBERED),
        "verify": remembered(_VERIFY, _REMEMBERED),
        "isolation": member(Isolation),
        "priority": whole(0, 100),
        "tenant": pattern(r"[A-Za-z0-9._-]{1,64}", "1 to 64 letters, digits, '.', '_' and '-'"),
    },
)
