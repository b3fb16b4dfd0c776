"""Every limit on what comes from outside and is signed, in one place, units last.

A device, a scheduler and a client must agree on these, or one refuses what another accepts: so they are constants of
the formats and not settings.  What an operator may tune lies below them, in ``config``.
"""

from __future__ import annotations

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
DAY_SECONDS = 86_400.0

# Numbers that travel as JSON or msgpack stay within 64 signed bits, so that any language can read them.
MAX_WHOLE = (1 << 63) - 1
LAST_SECOND = 253_402_300_799.0
"""The end of the year 9999, in seconds since the epoch."""

MAX_JSON_BYTES = 8 * MIB
MAX_JSON_DEPTH = 32

MAX_ENVELOPE_BYTES = 12 * MIB
"""Base64 makes ``MAX_JSON_BYTES`` a third larger; the rest is for the signatures."""
MAX_SIGNATURES = 8

MAX_JOB_BYTES = 1 * MIB
MAX_TASKS = 10_000_000
MAX_PAGE_TASKS = 100_000
MAX_PAGES = 100_000
MAX_PAGE_BYTES = 64 * MIB
MAX_INPUTS = 1_000
MAX_ATTEMPTS = 1_000
MAX_COPIES = 64
MAX_NAME_CHARACTERS = 200
MAX_WORDS = 64
"""Entries of one list of names in a job's requirements: sites, owners, labels."""

MAX_WALL_SECONDS = 30 * DAY_SECONDS
MAX_MEMORY_BYTES = 16_384 * GIB
MAX_PROCESSES = 100_000
MAX_OUTPUT_BYTES = 1_024 * GIB
MAX_OUTPUT_FILES = 1_000_000
MAX_OUTPUT_DEPTH = 64
MAX_LOG_BYTES = 64 * MIB
MAX_RESULT_BYTES = 48 * MIB
"""A result crosses from the runner to the agent in one frame of at most 64 MiB."""
MAX_CPUS = 4_096
MAX_GPUS = 64

MAX_BUNDLE_BYTES = 256 * MIB
MAX_BUNDLE_FILES = 10_000
MAX_WHEELS = 1_000
MAX_ARGV = 1_000
MAX_ARGUMENT_CHARACTERS = 32 * KIB

MAX_PATH_BYTES = 1_024
MAX_COMPONENT_BYTES = 255

MAX_BATCH_ITEMS = 100_000
MAX_HELD_LEASES = 100_000
REGISTRATION_SKEW_SECONDS = 600.0
"""How far a device's clock may be from the scheduler's when it registers."""
