"""The settings of every program, a section each: a frozen dataclass whose fields state their default and range.

A name ends in its unit.  ``_bytes`` are whole numbers, ``_seconds`` are seconds, and a zero says in its documentation
what it stands for.
"""
# ruff: noqa: RUF009 - `setting` and `located` only declare fields; what they return is never shared between instances

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from corpgrid.config.fields import located, setting
from corpgrid.domain import hours
from corpgrid.domain.availability import OwnerPolicy
from corpgrid.domain.messages import AgentSettings

KIB, MIB, GIB, TIB = (1 << shift for shift in (10, 20, 30, 40))
DAY_SECONDS = 86_400.0
SANDBOXES = ("auto", "bubblewrap")


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerConfig:
    """``[scheduler]``: one scheduler."""

    folder: Path = located(Path, "{data}/scheduler", "where the embedded store and blobs are kept")
    trusted_keys: Path = located(Path, "{config}/trusted_keys", "public keys that may submit jobs")
    trusted_devices: Path = located(Path, "{config}/trusted_devices", "public keys of the operator's devices")
    listen: str = located(str, "{address}", "unix:PATH in a folder of mode 0700, or a loopback HOST:PORT")
    store: str = setting("", "URL of the database; empty: SQLite in the folder")
    grid: str = setting("", "name of the grid; a database or bucket of another is refused; empty: what the folder says")
    blobs: str = setting("", "s3://BUCKET/PREFIX?endpoint=URL, gs:// or az://; empty: files in the folder")
    heartbeat_seconds: float = setting(5.0, "how often a working agent renews its leases", 0.05, 3600)
    lease_ttl_seconds: float = setting(20.0, "life of a lease; at least two heartbeats", 0.1, DAY_SECONDS)
    poll_wait_seconds: float = setting(20.0, "how long a poll that found no work is held open", 0.05, 3600)
    reconnect_window_seconds: float = setting(10.0, "time over which agents spread their reconnections", 0, 3600)
    sweep_seconds: float = setting(1.0, "how often leases that ran out are looked for", 0.01, 3600)
    outage_seconds: float = setting(5.0, "a gap without a tick of any scheduler that extends every lease", 0.1, 3600)
    keep_days: float = setting(90.0, "how long results are kept after the end of their job; 0: for ever", 0, 36_500)
    blob_grace_seconds: float = setting(DAY_SECONDS, "how long a blob that nothing names is kept", 0)

    def agent_settings(self, limits: LimitsConfig) -> AgentSettings:
        """What the scheduler tells its agents."""
        return AgentSettings(
            heartbeat_seconds=self.heartbeat_seconds,
            poll_wait_seconds=self.poll_wait_seconds,
            lease_ttl_seconds=self.lease_ttl_seconds,
            reconnect_window_seconds=self.reconnect_window_seconds,
            inline_bytes=limits.inline_bytes,
            batch_bytes=limits.batch_bytes,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentConfig:
    """``[agent]``: one device: whose it is, when it may work, and what it lends."""

    folder: Path = located(Path, "{data}/agent", "where it keeps its key, its cache and its work")
    trusted_keys: Path = located(Path, "{config}/trusted_keys", "public keys whose jobs it runs")
    address: str = located(
        str, "{address}", "address of the scheduler, or of several equal ones, with commas between them"
    )
    owner: str = located(str, "{user}", "whose it is; copies of a task never share an owner")
    site: str = setting("default", "where it stands")
    name: str = setting("", "what people call it; empty: its host name")
    labels: tuple[str, ...] = setting((), "labels that jobs may ask for")
    mains_settle_seconds: float = setting(30.0, "how long mains power must hold after it came back", 0, DAY_SECONDS)
    idle_seconds: float = setting(300.0, "how long nobody may have used it; 0: presence does not matter", 0, 1_000_000)
    hours: str = setting("always", "when it is lent, such as: mon-fri 19:00-07:00, sat-sun")
    thermal_headroom_min: float = setting(0.15, "least headroom, 0 (at its limit) to 1 (cold)", 0, 1)
    probe_seconds: float = setting(0.25, "how often power, presence and heat are looked at", 0.01, 60)
    power_root: Path | None = setting(None, "a tree like /sys/class/power_supply; empty: the machine's own")
    thermal_root: Path | None = setting(None, "a tree like /sys/class with thermal and hwmon; empty: the machine's own")
    presence_file: Path | None = setting(None, "file with the seconds since the last input; empty: ask the machine")
    capacity: int = setting(0, "tasks it holds at once; 0: one for each lent core", 0, 10_000)
    cpus: int = setting(0, "cores it lends; 0: all", 0, 100_000)
    memory_bytes: int = setting(0, "memory it lends; 0: all", 0)
    disk_bytes: int = setting(0, "disk it lends to work and cache; 0: all that is free", 0)
    cache_bytes: int = setting(10 * GIB, "bundles, inputs and environments kept for the next job", 0)
    sandbox: str = setting("auto", "what confines jobs; auto: the platform's own", choices=SANDBOXES)
    allow_network: bool = setting(False, "whether jobs that ask for the network get it")
    precompile: bool = setting(False, "make bytecode of packages once, so that fresh runners import faster")
    runner_idle_seconds: float = setting(60.0, "how long a warm runner without a task is kept", 0, DAY_SECONDS)
    spare_runners: int = setting(1, "runners started before their job is known", 0, 64)
    yield_grace_seconds: float = setting(30.0, "how long work waits, frozen, before it is handed back", 0, DAY_SECONDS)

    def policy(self) -> OwnerPolicy:
        """When it may work.

        Raises:
            UsageError: ``hours`` cannot be read.
        """
        return OwnerPolicy(
            mains_settle_seconds=self.mains_settle_seconds,
            idle_seconds_min=self.idle_seconds,
            hours=hours.parse(self.hours),
            thermal_headroom_min=self.thermal_headroom_min,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientConfig:
    """``[client]``: the command line and the library."""

    address: str = located(
        str, "{address}", "address of the scheduler, or of several equal ones, with commas between them"
    )
    key_file: Path = located(Path, "{config}/submitter.pem", "private key that signs jobs and bundles")
    cache_folder: Path = located(Path, "{cache}", "wheels and bundles kept for the next job")
    tenant: str = setting("default", "on whose account jobs run")
    timeout_seconds: float = setting(30.0, "how long one question may take", 0.1, 3600)
    job_days: float = setting(7.0, "how long after its submission a job may still be started", 0.01, 365)


@dataclass(frozen=True, slots=True, kw_only=True)
class GridConfig:
    """``[grid]``: ``corpgrid up``, a whole grid on one machine."""

    folder: Path = located(Path, "{data}/grid", "where that grid keeps everything")
    agents: int = setting(1, "how many agents to start", 1, 64)
    capacity: int = setting(0, "tasks that each of them holds at once; 0: one for each core", 0, 10_000)
    idle_seconds: float = setting(0.0, "as for an agent; 0, because whoever starts it sits there", 0, 1_000_000)
    start_seconds: float = setting(30.0, "how long it may take until it is ready", 1, 3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitsConfig:
    """``[limits]``: the most that the grid lets anybody ask for; each error names the limit that it met."""

    call_seconds: float = setting(30.0, "how long one call to a scheduler may take, tries included", 0.1, 3600)
    message_bytes: int = setting(32 * MIB, "one message between any two programs", MIB, GIB)
    inline_bytes: int = setting(64 * KIB, "a result inside a message; larger ones become blobs", 0, 16 * MIB)
    batch_bytes: int = setting(2 * MIB, "results in one message", KIB, GIB)
    blob_bytes: int = setting(64 * GIB, "one blob", MIB)
    bundle_bytes: int = setting(256 * MIB, "one bundle", KIB, 256 * MIB)
    job_tasks: int = setting(10_000_000, "tasks of one job", 1)
    task_attempts: int = setting(100, "attempts of one task, of any purpose", 1, 10_000)
    wall_seconds: float = setting(7 * DAY_SECONDS, "run time of one task", 1)
    memory_bytes: int = setting(TIB, "memory of one task", MIB)
    processes: int = setting(4_096, "processes and threads of one task", 1)
    output_bytes: int = setting(64 * GIB, "all files that one task leaves", 0)
    output_files: int = setting(100_000, "files that one task leaves", 0)
    output_depth: int = setting(64, "folders within folders that one task leaves", 1, 1_000)
    log_bytes: int = setting(16 * MIB, "what is kept of what one task printed", 0)
    result_bytes: int = setting(256 * MIB, "one encoded result", KIB)
    queued_requests: int = setting(100_000, "requests that wait for one scheduler", 1)
    connections: int = setting(100_000, "programs that are connected to one scheduler", 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """All sections; ``sources`` says of every setting (``agent.hours``) where it came from."""

    scheduler: SchedulerConfig
    agent: AgentConfig
    client: ClientConfig
    grid: GridConfig
    limits: LimitsConfig
    sources: Mapping[str, str] = field(default_factory=dict)
