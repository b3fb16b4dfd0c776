"""The limits of a scheduler, all named; the configuration sets them, and ``GridInfo`` shows those in force."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerLimits:
    """What one scheduler takes on.

    Attributes:
        queue_events: events that may wait for a tick; one more is told to come back later.
        parked_polls: polls that may wait for work; one more is told to come back later.
        tick_events: events in one tick.
        tick_items: results in one tick (the last event may bring it above).
        tick_polls: parked polls that one tick asks again.
        stale_tries: how often a tick is tried before its events are given up.
        store_pause_seconds: the first pause after the store failed; each further one is twice as long.
        store_pause_longest_seconds: the longest such pause.
        page_results: results in one page.
        page_bytes: bytes of results in one page (the last result may bring it above).
        listed: jobs, tasks or audit lines in one answer.
        wait_seconds: the longest that a reader of results may wait in one call.
        submit_blobs: blobs that may come with a job.
        evidence_bytes: memory for verified batches that are kept at hand.
        sweep_seconds: how often leases and waiting tasks are looked at while a job runs.
        keep_seconds: for how long what a job brought is kept after its end; 0 is for ever.
        collect_seconds: how often what is kept no more is collected, at least; 0 is never.
        collect_grace_seconds: how old a blob must be that nothing names.
        bundle_bytes: one bundle.
        job_tasks: tasks of one job; this and the rest is what a job may ask for (``admission``).
        task_attempts: attempts that a job may allow a task.
        wall_seconds: run time of one task.
        memory_bytes: memory of one task.
        processes: processes and threads of one task.
        output_bytes: all files that one task leaves; ``output_files`` their number, ``output_depth`` their folders'.
        log_bytes: what is kept of what one task printed.
        result_bytes: one encoded result.
    """

    queue_events: int = 20_000
    parked_polls: int = 200_000
    tick_events: int = 2_048
    tick_items: int = 8_192
    tick_polls: int = 256
    stale_tries: int = 20
    store_pause_seconds: float = 0.1
    store_pause_longest_seconds: float = 5.0
    page_results: int = 10_000
    page_bytes: int = 8 << 20
    listed: int = 10_000
    wait_seconds: float = 60.0
    submit_blobs: int = 64
    evidence_bytes: int = 64 << 20
    sweep_seconds: float = 1.0
    keep_seconds: float = 90 * 86_400.0
    collect_seconds: float = 3_600.0
    collect_grace_seconds: float = 86_400.0
    bundle_bytes: int = 256 << 20
    job_tasks: int = 10_000_000
    task_attempts: int = 100
    wall_seconds: float = 604_800.0
    memory_bytes: int = 1 << 40
    processes: int = 4_096
    output_bytes: int = 64 << 30
    output_files: int = 100_000
    output_depth: int = 64
    log_bytes: int = 16 << 20
    result_bytes: int = 256 << 20
