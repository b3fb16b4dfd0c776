from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TaskState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    TASK_STATE_UNSPECIFIED: _ClassVar[TaskState]
    TASK_STATE_WAITING: _ClassVar[TaskState]
    TASK_STATE_READY: _ClassVar[TaskState]
    TASK_STATE_LEASED: _ClassVar[TaskState]
    TASK_STATE_PROVISIONAL: _ClassVar[TaskState]
    TASK_STATE_FINAL: _ClassVar[TaskState]
    TASK_STATE_FAILED: _ClassVar[TaskState]
    TASK_STATE_CANCELLED: _ClassVar[TaskState]

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_RUNNING: _ClassVar[JobState]
    JOB_STATE_DONE: _ClassVar[JobState]
    JOB_STATE_FAILED: _ClassVar[JobState]
    JOB_STATE_CANCELLED: _ClassVar[JobState]

class AttemptState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ATTEMPT_STATE_UNSPECIFIED: _ClassVar[AttemptState]
    ATTEMPT_STATE_LEASED: _ClassVar[AttemptState]
    ATTEMPT_STATE_RUNNING: _ClassVar[AttemptState]
    ATTEMPT_STATE_YIELDED: _ClassVar[AttemptState]
    ATTEMPT_STATE_RETURNED: _ClassVar[AttemptState]
    ATTEMPT_STATE_ACCEPTED: _ClassVar[AttemptState]
    ATTEMPT_STATE_REJECTED: _ClassVar[AttemptState]
    ATTEMPT_STATE_EXPIRED: _ClassVar[AttemptState]
    ATTEMPT_STATE_CRASHED: _ClassVar[AttemptState]
    ATTEMPT_STATE_STOPPED: _ClassVar[AttemptState]
    ATTEMPT_STATE_REFUSED: _ClassVar[AttemptState]

class DeviceState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DEVICE_STATE_UNSPECIFIED: _ClassVar[DeviceState]
    DEVICE_STATE_PENDING: _ClassVar[DeviceState]
    DEVICE_STATE_ACTIVE: _ClassVar[DeviceState]
    DEVICE_STATE_PAUSED: _ClassVar[DeviceState]
    DEVICE_STATE_DRAINING: _ClassVar[DeviceState]
    DEVICE_STATE_QUARANTINED: _ClassVar[DeviceState]
    DEVICE_STATE_REVOKED: _ClassVar[DeviceState]

class Purpose(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PURPOSE_UNSPECIFIED: _ClassVar[Purpose]
    PURPOSE_PRIMARY: _ClassVar[Purpose]
    PURPOSE_AUDIT: _ClassVar[Purpose]
    PURPOSE_ARBITER: _ClassVar[Purpose]

class Outcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_UNSPECIFIED: _ClassVar[Outcome]
    OUTCOME_RESULT: _ClassVar[Outcome]
    OUTCOME_FAILED: _ClassVar[Outcome]
    OUTCOME_CRASHED: _ClassVar[Outcome]
    OUTCOME_STOPPED: _ClassVar[Outcome]
    OUTCOME_REFUSED: _ClassVar[Outcome]

class VerifyMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    VERIFY_MODE_UNSPECIFIED: _ClassVar[VerifyMode]
    VERIFY_MODE_NONE: _ClassVar[VerifyMode]
    VERIFY_MODE_AUDIT: _ClassVar[VerifyMode]
    VERIFY_MODE_QUORUM: _ClassVar[VerifyMode]
    VERIFY_MODE_TIERS: _ClassVar[VerifyMode]
    VERIFY_MODE_TRUSTED: _ClassVar[VerifyMode]
TASK_STATE_UNSPECIFIED: TaskState
TASK_STATE_WAITING: TaskState
TASK_STATE_READY: TaskState
TASK_STATE_LEASED: TaskState
TASK_STATE_PROVISIONAL: TaskState
TASK_STATE_FINAL: TaskState
TASK_STATE_FAILED: TaskState
TASK_STATE_CANCELLED: TaskState
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_RUNNING: JobState
JOB_STATE_DONE: JobState
JOB_STATE_FAILED: JobState
JOB_STATE_CANCELLED: JobState
ATTEMPT_STATE_UNSPECIFIED: AttemptState
ATTEMPT_STATE_LEASED: AttemptState
ATTEMPT_STATE_RUNNING: AttemptState
ATTEMPT_STATE_YIELDED: AttemptState
ATTEMPT_STATE_RETURNED: AttemptState
ATTEMPT_STATE_ACCEPTED: AttemptState
ATTEMPT_STATE_REJECTED: AttemptState
ATTEMPT_STATE_EXPIRED: AttemptState
ATTEMPT_STATE_CRASHED: AttemptState
ATTEMPT_STATE_STOPPED: AttemptState
ATTEMPT_STATE_REFUSED: AttemptState
DEVICE_STATE_UNSPECIFIED: DeviceState
DEVICE_STATE_PENDING: DeviceState
DEVICE_STATE_ACTIVE: DeviceState
DEVICE_STATE_PAUSED: DeviceState
DEVICE_STATE_DRAINING: DeviceState
DEVICE_STATE_QUARANTINED: DeviceState
DEVICE_STATE_REVOKED: DeviceState
PURPOSE_UNSPECIFIED: Purpose
PURPOSE_PRIMARY: Purpose
PURPOSE_AUDIT: Purpose
PURPOSE_ARBITER: Purpose
OUTCOME_UNSPECIFIED: Outcome
OUTCOME_RESULT: Outcome
OUTCOME_FAILED: Outcome
OUTCOME_CRASHED: Outcome
OUTCOME_STOPPED: Outcome
OUTCOME_REFUSED: Outcome
VERIFY_MODE_UNSPECIFIED: VerifyMode
VERIFY_MODE_NONE: VerifyMode
VERIFY_MODE_AUDIT: VerifyMode
VERIFY_MODE_QUORUM: VerifyMode
VERIFY_MODE_TIERS: VerifyMode
VERIFY_MODE_TRUSTED: VerifyMode

class PowerStatus(_message.Message):
    __slots__ = ("on_ac_power", "battery_percent")
    ON_AC_POWER_FIELD_NUMBER: _ClassVar[int]
    BATTERY_PERCENT_FIELD_NUMBER: _ClassVar[int]
    on_ac_power: bool
    battery_percent: float
    def __init__(self, on_ac_power: _Optional[bool] = ..., battery_percent: _Optional[float] = ...) -> None: ...

class Gpu(_message.Message):
    __slots__ = ("backend", "name", "uuid", "vram_bytes", "driver", "compute")
    BACKEND_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    UUID_FIELD_NUMBER: _ClassVar[int]
    VRAM_BYTES_FIELD_NUMBER: _ClassVar[int]
    DRIVER_FIELD_NUMBER: _ClassVar[int]
    COMPUTE_FIELD_NUMBER: _ClassVar[int]
    backend: str
    name: str
    uuid: str
    vram_bytes: int
    driver: str
    compute: str
    def __init__(self, backend: _Optional[str] = ..., name: _Optional[str] = ..., uuid: _Optional[str] = ..., vram_bytes: _Optional[int] = ..., driver: _Optional[str] = ..., compute: _Optional[str] = ...) -> None: ...

class Facts(_message.Message):
    __slots__ = ("hostname", "operating_system", "architecture", "python", "engines", "sandbox", "cpus", "memory_bytes", "disk_free_bytes", "gpus", "labels", "thermal_headroom", "agent_version")
    HOSTNAME_FIELD_NUMBER: _ClassVar[int]
    OPERATING_SYSTEM_FIELD_NUMBER: _ClassVar[int]
    ARCHITECTURE_FIELD_NUMBER: _ClassVar[int]
    PYTHON_FIELD_NUMBER: _ClassVar[int]
    ENGINES_FIELD_NUMBER: _ClassVar[int]
    SANDBOX_FIELD_NUMBER: _ClassVar[int]
    CPUS_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    GPUS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    THERMAL_HEADROOM_FIELD_NUMBER: _ClassVar[int]
    AGENT_VERSION_FIELD_NUMBER: _ClassVar[int]
    hostname: str
    operating_system: str
    architecture: str
    python: str
    engines: _containers.RepeatedScalarFieldContainer[str]
    sandbox: str
    cpus: int
    memory_bytes: int
    disk_free_bytes: int
    gpus: _containers.RepeatedCompositeFieldContainer[Gpu]
    labels: _containers.RepeatedScalarFieldContainer[str]
    thermal_headroom: float
    agent_version: str
    def __init__(self, hostname: _Optional[str] = ..., operating_system: _Optional[str] = ..., architecture: _Optional[str] = ..., python: _Optional[str] = ..., engines: _Optional[_Iterable[str]] = ..., sandbox: _Optional[str] = ..., cpus: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., disk_free_bytes: _Optional[int] = ..., gpus: _Optional[_Iterable[_Union[Gpu, _Mapping]]] = ..., labels: _Optional[_Iterable[str]] = ..., thermal_headroom: _Optional[float] = ..., agent_version: _Optional[str] = ...) -> None: ...

class Beta(_message.Message):
    __slots__ = ("alpha", "beta", "updated_at")
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    BETA_FIELD_NUMBER: _ClassVar[int]
    UPDATED_AT_FIELD_NUMBER: _ClassVar[int]
    alpha: float
    beta: float
    updated_at: float
    def __init__(self, alpha: _Optional[float] = ..., beta: _Optional[float] = ..., updated_at: _Optional[float] = ...) -> None: ...

class Device(_message.Message):
    __slots__ = ("id", "public_key", "owner", "site", "state", "reason", "trusted", "name", "facts", "power", "blockers", "capacity", "leased", "boot", "registered_at", "last_seen", "completed", "correctness", "availability")
    ID_FIELD_NUMBER: _ClassVar[int]
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    TRUSTED_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    POWER_FIELD_NUMBER: _ClassVar[int]
    BLOCKERS_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    LEASED_FIELD_NUMBER: _ClassVar[int]
    BOOT_FIELD_NUMBER: _ClassVar[int]
    REGISTERED_AT_FIELD_NUMBER: _ClassVar[int]
    LAST_SEEN_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    CORRECTNESS_FIELD_NUMBER: _ClassVar[int]
    AVAILABILITY_FIELD_NUMBER: _ClassVar[int]
    id: str
    public_key: bytes
    owner: str
    site: str
    state: DeviceState
    reason: str
    trusted: bool
    name: str
    facts: Facts
    power: PowerStatus
    blockers: _containers.RepeatedScalarFieldContainer[str]
    capacity: int
    leased: int
    boot: str
    registered_at: float
    last_seen: float
    completed: int
    correctness: Beta
    availability: Beta
    def __init__(self, id: _Optional[str] = ..., public_key: _Optional[bytes] = ..., owner: _Optional[str] = ..., site: _Optional[str] = ..., state: _Optional[_Union[DeviceState, str]] = ..., reason: _Optional[str] = ..., trusted: _Optional[bool] = ..., name: _Optional[str] = ..., facts: _Optional[_Union[Facts, _Mapping]] = ..., power: _Optional[_Union[PowerStatus, _Mapping]] = ..., blockers: _Optional[_Iterable[str]] = ..., capacity: _Optional[int] = ..., leased: _Optional[int] = ..., boot: _Optional[str] = ..., registered_at: _Optional[float] = ..., last_seen: _Optional[float] = ..., completed: _Optional[int] = ..., correctness: _Optional[_Union[Beta, _Mapping]] = ..., availability: _Optional[_Union[Beta, _Mapping]] = ...) -> None: ...

class AgentStatus(_message.Message):
    __slots__ = ("device", "session", "power", "held", "blockers", "capacity", "thermal_headroom", "disk_free_bytes")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    POWER_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    BLOCKERS_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    THERMAL_HEADROOM_FIELD_NUMBER: _ClassVar[int]
    DISK_FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    device: str
    session: str
    power: PowerStatus
    held: _containers.RepeatedScalarFieldContainer[int]
    blockers: _containers.RepeatedScalarFieldContainer[str]
    capacity: int
    thermal_headroom: float
    disk_free_bytes: int
    def __init__(self, device: _Optional[str] = ..., session: _Optional[str] = ..., power: _Optional[_Union[PowerStatus, _Mapping]] = ..., held: _Optional[_Iterable[int]] = ..., blockers: _Optional[_Iterable[str]] = ..., capacity: _Optional[int] = ..., thermal_headroom: _Optional[float] = ..., disk_free_bytes: _Optional[int] = ...) -> None: ...

class OutputFile(_message.Message):
    __slots__ = ("name", "digest", "size_bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    digest: bytes
    size_bytes: int
    def __init__(self, name: _Optional[str] = ..., digest: _Optional[bytes] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class RareItem(_message.Message):
    __slots__ = ("position", "blob", "reason", "detail", "log", "log_dropped", "outputs")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    LOG_DROPPED_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    position: int
    blob: bytes
    reason: str
    detail: bytes
    log: bytes
    log_dropped: int
    outputs: _containers.RepeatedCompositeFieldContainer[OutputFile]
    def __init__(self, position: _Optional[int] = ..., blob: _Optional[bytes] = ..., reason: _Optional[str] = ..., detail: _Optional[bytes] = ..., log: _Optional[bytes] = ..., log_dropped: _Optional[int] = ..., outputs: _Optional[_Iterable[_Union[OutputFile, _Mapping]]] = ...) -> None: ...

class ResultBatch(_message.Message):
    __slots__ = ("job", "device", "signature", "indexes", "attempts", "epochs", "outcomes", "seconds", "payloads", "rare")
    JOB_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    INDEXES_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    RARE_FIELD_NUMBER: _ClassVar[int]
    job: str
    device: str
    signature: bytes
    indexes: _containers.RepeatedScalarFieldContainer[int]
    attempts: _containers.RepeatedScalarFieldContainer[int]
    epochs: _containers.RepeatedScalarFieldContainer[int]
    outcomes: _containers.RepeatedScalarFieldContainer[Outcome]
    seconds: _containers.RepeatedScalarFieldContainer[float]
    payloads: _containers.RepeatedScalarFieldContainer[bytes]
    rare: _containers.RepeatedCompositeFieldContainer[RareItem]
    def __init__(self, job: _Optional[str] = ..., device: _Optional[str] = ..., signature: _Optional[bytes] = ..., indexes: _Optional[_Iterable[int]] = ..., attempts: _Optional[_Iterable[int]] = ..., epochs: _Optional[_Iterable[int]] = ..., outcomes: _Optional[_Iterable[_Union[Outcome, str]]] = ..., seconds: _Optional[_Iterable[float]] = ..., payloads: _Optional[_Iterable[bytes]] = ..., rare: _Optional[_Iterable[_Union[RareItem, _Mapping]]] = ...) -> None: ...

class AgentReply(_message.Message):
    __slots__ = ("should_continue", "message", "lost", "received")
    SHOULD_CONTINUE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    RECEIVED_FIELD_NUMBER: _ClassVar[int]
    should_continue: bool
    message: str
    lost: _containers.RepeatedScalarFieldContainer[int]
    received: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, should_continue: _Optional[bool] = ..., message: _Optional[str] = ..., lost: _Optional[_Iterable[int]] = ..., received: _Optional[_Iterable[int]] = ...) -> None: ...

class Grant(_message.Message):
    __slots__ = ("epoch", "job", "ttl_seconds", "indexes", "attempts")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    INDEXES_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    job: str
    ttl_seconds: float
    indexes: _containers.RepeatedScalarFieldContainer[int]
    attempts: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, epoch: _Optional[int] = ..., job: _Optional[str] = ..., ttl_seconds: _Optional[float] = ..., indexes: _Optional[_Iterable[int]] = ..., attempts: _Optional[_Iterable[int]] = ...) -> None: ...

class AgentSettings(_message.Message):
    __slots__ = ("heartbeat_seconds", "poll_wait_seconds", "lease_ttl_seconds", "reconnect_window_seconds", "inline_bytes", "batch_bytes")
    HEARTBEAT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    POLL_WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    LEASE_TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RECONNECT_WINDOW_SECONDS_FIELD_NUMBER: _ClassVar[int]
    INLINE_BYTES_FIELD_NUMBER: _ClassVar[int]
    BATCH_BYTES_FIELD_NUMBER: _ClassVar[int]
    heartbeat_seconds: float
    poll_wait_seconds: float
    lease_ttl_seconds: float
    reconnect_window_seconds: float
    inline_bytes: int
    batch_bytes: int
    def __init__(self, heartbeat_seconds: _Optional[float] = ..., poll_wait_seconds: _Optional[float] = ..., lease_ttl_seconds: _Optional[float] = ..., reconnect_window_seconds: _Optional[float] = ..., inline_bytes: _Optional[int] = ..., batch_bytes: _Optional[int] = ...) -> None: ...

class RegisterAgentRequest(_message.Message):
    __slots__ = ("public_key", "owner", "site", "name", "facts", "power", "boot", "signed_at", "capacity", "proof", "blockers", "held")
    PUBLIC_KEY_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    POWER_FIELD_NUMBER: _ClassVar[int]
    BOOT_FIELD_NUMBER: _ClassVar[int]
    SIGNED_AT_FIELD_NUMBER: _ClassVar[int]
    CAPACITY_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    BLOCKERS_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    public_key: bytes
    owner: str
    site: str
    name: str
    facts: Facts
    power: PowerStatus
    boot: str
    signed_at: float
    capacity: int
    proof: bytes
    blockers: _containers.RepeatedScalarFieldContainer[str]
    held: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, public_key: _Optional[bytes] = ..., owner: _Optional[str] = ..., site: _Optional[str] = ..., name: _Optional[str] = ..., facts: _Optional[_Union[Facts, _Mapping]] = ..., power: _Optional[_Union[PowerStatus, _Mapping]] = ..., boot: _Optional[str] = ..., signed_at: _Optional[float] = ..., capacity: _Optional[int] = ..., proof: _Optional[bytes] = ..., blockers: _Optional[_Iterable[str]] = ..., held: _Optional[_Iterable[int]] = ...) -> None: ...

class RegisterAgentResponse(_message.Message):
    __slots__ = ("device", "session", "settings", "should_continue", "message")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    SESSION_FIELD_NUMBER: _ClassVar[int]
    SETTINGS_FIELD_NUMBER: _ClassVar[int]
    SHOULD_CONTINUE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    device: str
    session: str
    settings: AgentSettings
    should_continue: bool
    message: str
    def __init__(self, device: _Optional[str] = ..., session: _Optional[str] = ..., settings: _Optional[_Union[AgentSettings, _Mapping]] = ..., should_continue: _Optional[bool] = ..., message: _Optional[str] = ...) -> None: ...

class PollJobsRequest(_message.Message):
    __slots__ = ("status", "wanted", "wait_seconds", "known_jobs", "batches")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    KNOWN_JOBS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    status: AgentStatus
    wanted: int
    wait_seconds: float
    known_jobs: _containers.RepeatedScalarFieldContainer[str]
    batches: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, status: _Optional[_Union[AgentStatus, _Mapping]] = ..., wanted: _Optional[int] = ..., wait_seconds: _Optional[float] = ..., known_jobs: _Optional[_Iterable[str]] = ..., batches: _Optional[_Iterable[bytes]] = ...) -> None: ...

class PollJobsResponse(_message.Message):
    __slots__ = ("reply", "grants", "specs", "blobs")
    class SpecsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    REPLY_FIELD_NUMBER: _ClassVar[int]
    GRANTS_FIELD_NUMBER: _ClassVar[int]
    SPECS_FIELD_NUMBER: _ClassVar[int]
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    reply: AgentReply
    grants: _containers.RepeatedCompositeFieldContainer[Grant]
    specs: _containers.ScalarMap[str, bytes]
    blobs: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, reply: _Optional[_Union[AgentReply, _Mapping]] = ..., grants: _Optional[_Iterable[_Union[Grant, _Mapping]]] = ..., specs: _Optional[_Mapping[str, bytes]] = ..., blobs: _Optional[_Iterable[bytes]] = ...) -> None: ...

class HeartbeatRequest(_message.Message):
    __slots__ = ("status",)
    STATUS_FIELD_NUMBER: _ClassVar[int]
    status: AgentStatus
    def __init__(self, status: _Optional[_Union[AgentStatus, _Mapping]] = ...) -> None: ...

class HeartbeatResponse(_message.Message):
    __slots__ = ("reply",)
    REPLY_FIELD_NUMBER: _ClassVar[int]
    reply: AgentReply
    def __init__(self, reply: _Optional[_Union[AgentReply, _Mapping]] = ...) -> None: ...

class SubmitResultRequest(_message.Message):
    __slots__ = ("status", "batches")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    BATCHES_FIELD_NUMBER: _ClassVar[int]
    status: AgentStatus
    batches: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, status: _Optional[_Union[AgentStatus, _Mapping]] = ..., batches: _Optional[_Iterable[bytes]] = ...) -> None: ...

class SubmitResultResponse(_message.Message):
    __slots__ = ("reply",)
    REPLY_FIELD_NUMBER: _ClassVar[int]
    reply: AgentReply
    def __init__(self, reply: _Optional[_Union[AgentReply, _Mapping]] = ...) -> None: ...

class ReportCheckpointRequest(_message.Message):
    __slots__ = ("status", "job", "index", "attempt", "epoch", "step", "blob")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    status: AgentStatus
    job: str
    index: int
    attempt: int
    epoch: int
    step: int
    blob: bytes
    def __init__(self, status: _Optional[_Union[AgentStatus, _Mapping]] = ..., job: _Optional[str] = ..., index: _Optional[int] = ..., attempt: _Optional[int] = ..., epoch: _Optional[int] = ..., step: _Optional[int] = ..., blob: _Optional[bytes] = ...) -> None: ...

class ReportCheckpointResponse(_message.Message):
    __slots__ = ("reply",)
    REPLY_FIELD_NUMBER: _ClassVar[int]
    reply: AgentReply
    def __init__(self, reply: _Optional[_Union[AgentReply, _Mapping]] = ...) -> None: ...

class Counts(_message.Message):
    __slots__ = ("waiting", "ready", "leased", "provisional", "final", "failed", "cancelled")
    WAITING_FIELD_NUMBER: _ClassVar[int]
    READY_FIELD_NUMBER: _ClassVar[int]
    LEASED_FIELD_NUMBER: _ClassVar[int]
    PROVISIONAL_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    CANCELLED_FIELD_NUMBER: _ClassVar[int]
    waiting: int
    ready: int
    leased: int
    provisional: int
    final: int
    failed: int
    cancelled: int
    def __init__(self, waiting: _Optional[int] = ..., ready: _Optional[int] = ..., leased: _Optional[int] = ..., provisional: _Optional[int] = ..., final: _Optional[int] = ..., failed: _Optional[int] = ..., cancelled: _Optional[int] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("id", "name", "submitter", "tenant", "priority", "tasks", "created_at", "state", "finished_at", "rev", "counts", "unsettled", "executions", "audits", "mismatches", "audit_rate", "error_bound", "reason")
    ID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    SUBMITTER_FIELD_NUMBER: _ClassVar[int]
    TENANT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    TASKS_FIELD_NUMBER: _ClassVar[int]
    CREATED_AT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    FINISHED_AT_FIELD_NUMBER: _ClassVar[int]
    REV_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    UNSETTLED_FIELD_NUMBER: _ClassVar[int]
    EXECUTIONS_FIELD_NUMBER: _ClassVar[int]
    AUDITS_FIELD_NUMBER: _ClassVar[int]
    MISMATCHES_FIELD_NUMBER: _ClassVar[int]
    AUDIT_RATE_FIELD_NUMBER: _ClassVar[int]
    ERROR_BOUND_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    id: str
    name: str
    submitter: str
    tenant: str
    priority: int
    tasks: int
    created_at: float
    state: JobState
    finished_at: float
    rev: int
    counts: Counts
    unsettled: int
    executions: int
    audits: int
    mismatches: int
    audit_rate: float
    error_bound: float
    reason: str
    def __init__(self, id: _Optional[str] = ..., name: _Optional[str] = ..., submitter: _Optional[str] = ..., tenant: _Optional[str] = ..., priority: _Optional[int] = ..., tasks: _Optional[int] = ..., created_at: _Optional[float] = ..., state: _Optional[_Union[JobState, str]] = ..., finished_at: _Optional[float] = ..., rev: _Optional[int] = ..., counts: _Optional[_Union[Counts, _Mapping]] = ..., unsettled: _Optional[int] = ..., executions: _Optional[int] = ..., audits: _Optional[int] = ..., mismatches: _Optional[int] = ..., audit_rate: _Optional[float] = ..., error_bound: _Optional[float] = ..., reason: _Optional[str] = ...) -> None: ...

class Task(_message.Message):
    __slots__ = ("job", "index", "state", "purpose", "open", "live", "attempts", "failures", "accepted", "reason", "ready_at", "final_rev")
    JOB_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    OPEN_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    READY_AT_FIELD_NUMBER: _ClassVar[int]
    FINAL_REV_FIELD_NUMBER: _ClassVar[int]
    job: str
    index: int
    state: TaskState
    purpose: Purpose
    open: int
    live: int
    attempts: int
    failures: int
    accepted: int
    reason: str
    ready_at: float
    final_rev: int
    def __init__(self, job: _Optional[str] = ..., index: _Optional[int] = ..., state: _Optional[_Union[TaskState, str]] = ..., purpose: _Optional[_Union[Purpose, str]] = ..., open: _Optional[int] = ..., live: _Optional[int] = ..., attempts: _Optional[int] = ..., failures: _Optional[int] = ..., accepted: _Optional[int] = ..., reason: _Optional[str] = ..., ready_at: _Optional[float] = ..., final_rev: _Optional[int] = ...) -> None: ...

class Attempt(_message.Message):
    __slots__ = ("job", "index", "number", "device", "owner", "site", "purpose", "epoch", "state", "batch", "position", "digest", "reason", "seconds")
    JOB_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    SITE_FIELD_NUMBER: _ClassVar[int]
    PURPOSE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    POSITION_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    job: str
    index: int
    number: int
    device: str
    owner: str
    site: str
    purpose: Purpose
    epoch: int
    state: AttemptState
    batch: int
    position: int
    digest: bytes
    reason: str
    seconds: float
    def __init__(self, job: _Optional[str] = ..., index: _Optional[int] = ..., number: _Optional[int] = ..., device: _Optional[str] = ..., owner: _Optional[str] = ..., site: _Optional[str] = ..., purpose: _Optional[_Union[Purpose, str]] = ..., epoch: _Optional[int] = ..., state: _Optional[_Union[AttemptState, str]] = ..., batch: _Optional[int] = ..., position: _Optional[int] = ..., digest: _Optional[bytes] = ..., reason: _Optional[str] = ..., seconds: _Optional[float] = ...) -> None: ...

class JobRequest(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: str
    def __init__(self, job: _Optional[str] = ...) -> None: ...

class JobResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: Job
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ...) -> None: ...

class TaskRequest(_message.Message):
    __slots__ = ("job", "index")
    JOB_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    job: str
    index: int
    def __init__(self, job: _Optional[str] = ..., index: _Optional[int] = ...) -> None: ...

class SubmitJobRequest(_message.Message):
    __slots__ = ("envelope", "blobs")
    ENVELOPE_FIELD_NUMBER: _ClassVar[int]
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    envelope: bytes
    blobs: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, envelope: _Optional[bytes] = ..., blobs: _Optional[_Iterable[bytes]] = ...) -> None: ...

class CancelJobRequest(_message.Message):
    __slots__ = ("job", "reason")
    JOB_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    job: str
    reason: str
    def __init__(self, job: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ("states", "limit")
    STATES_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    states: _containers.RepeatedScalarFieldContainer[JobState]
    limit: int
    def __init__(self, states: _Optional[_Iterable[_Union[JobState, str]]] = ..., limit: _Optional[int] = ...) -> None: ...

class ListJobsResponse(_message.Message):
    __slots__ = ("jobs",)
    JOBS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ...) -> None: ...

class ListTasksRequest(_message.Message):
    __slots__ = ("job", "states", "after", "limit")
    JOB_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    job: str
    states: _containers.RepeatedScalarFieldContainer[TaskState]
    after: int
    limit: int
    def __init__(self, job: _Optional[str] = ..., states: _Optional[_Iterable[_Union[TaskState, str]]] = ..., after: _Optional[int] = ..., limit: _Optional[int] = ...) -> None: ...

class ListTasksResponse(_message.Message):
    __slots__ = ("tasks",)
    TASKS_FIELD_NUMBER: _ClassVar[int]
    tasks: _containers.RepeatedCompositeFieldContainer[Task]
    def __init__(self, tasks: _Optional[_Iterable[_Union[Task, _Mapping]]] = ...) -> None: ...

class ListAttemptsResponse(_message.Message):
    __slots__ = ("attempts",)
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    attempts: _containers.RepeatedCompositeFieldContainer[Attempt]
    def __init__(self, attempts: _Optional[_Iterable[_Union[Attempt, _Mapping]]] = ...) -> None: ...

class Cursor(_message.Message):
    __slots__ = ("rev", "index")
    REV_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    rev: int
    index: int
    def __init__(self, rev: _Optional[int] = ..., index: _Optional[int] = ...) -> None: ...

class FetchResultsRequest(_message.Message):
    __slots__ = ("job", "after", "limit", "wait_seconds", "provisional")
    JOB_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    WAIT_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PROVISIONAL_FIELD_NUMBER: _ClassVar[int]
    job: str
    after: Cursor
    limit: int
    wait_seconds: float
    provisional: bool
    def __init__(self, job: _Optional[str] = ..., after: _Optional[_Union[Cursor, _Mapping]] = ..., limit: _Optional[int] = ..., wait_seconds: _Optional[float] = ..., provisional: _Optional[bool] = ...) -> None: ...

class RareResult(_message.Message):
    __slots__ = ("position", "blob", "reason", "detail", "outputs")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    OUTPUTS_FIELD_NUMBER: _ClassVar[int]
    position: int
    blob: bytes
    reason: str
    detail: str
    outputs: _containers.RepeatedCompositeFieldContainer[OutputFile]
    def __init__(self, position: _Optional[int] = ..., blob: _Optional[bytes] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ..., outputs: _Optional[_Iterable[_Union[OutputFile, _Mapping]]] = ...) -> None: ...

class FetchResultsResponse(_message.Message):
    __slots__ = ("job", "cursor", "complete", "devices", "indexes", "states", "attempts", "device_positions", "seconds", "payloads", "rare")
    JOB_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    COMPLETE_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    INDEXES_FIELD_NUMBER: _ClassVar[int]
    STATES_FIELD_NUMBER: _ClassVar[int]
    ATTEMPTS_FIELD_NUMBER: _ClassVar[int]
    DEVICE_POSITIONS_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    PAYLOADS_FIELD_NUMBER: _ClassVar[int]
    RARE_FIELD_NUMBER: _ClassVar[int]
    job: Job
    cursor: Cursor
    complete: bool
    devices: _containers.RepeatedScalarFieldContainer[str]
    indexes: _containers.RepeatedScalarFieldContainer[int]
    states: _containers.RepeatedScalarFieldContainer[TaskState]
    attempts: _containers.RepeatedScalarFieldContainer[int]
    device_positions: _containers.RepeatedScalarFieldContainer[int]
    seconds: _containers.RepeatedScalarFieldContainer[float]
    payloads: _containers.RepeatedScalarFieldContainer[bytes]
    rare: _containers.RepeatedCompositeFieldContainer[RareResult]
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ..., cursor: _Optional[_Union[Cursor, _Mapping]] = ..., complete: _Optional[bool] = ..., devices: _Optional[_Iterable[str]] = ..., indexes: _Optional[_Iterable[int]] = ..., states: _Optional[_Iterable[_Union[TaskState, str]]] = ..., attempts: _Optional[_Iterable[int]] = ..., device_positions: _Optional[_Iterable[int]] = ..., seconds: _Optional[_Iterable[float]] = ..., payloads: _Optional[_Iterable[bytes]] = ..., rare: _Optional[_Iterable[_Union[RareResult, _Mapping]]] = ...) -> None: ...

class AttemptLog(_message.Message):
    __slots__ = ("attempt", "device", "state", "log", "log_dropped", "reason", "detail")
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LOG_FIELD_NUMBER: _ClassVar[int]
    LOG_DROPPED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    attempt: int
    device: str
    state: AttemptState
    log: bytes
    log_dropped: int
    reason: str
    detail: str
    def __init__(self, attempt: _Optional[int] = ..., device: _Optional[str] = ..., state: _Optional[_Union[AttemptState, str]] = ..., log: _Optional[bytes] = ..., log_dropped: _Optional[int] = ..., reason: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class GetLogResponse(_message.Message):
    __slots__ = ("logs",)
    LOGS_FIELD_NUMBER: _ClassVar[int]
    logs: _containers.RepeatedCompositeFieldContainer[AttemptLog]
    def __init__(self, logs: _Optional[_Iterable[_Union[AttemptLog, _Mapping]]] = ...) -> None: ...

class Obstacle(_message.Message):
    __slots__ = ("reason", "devices", "detail", "remedy")
    REASON_FIELD_NUMBER: _ClassVar[int]
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    reason: str
    devices: int
    detail: str
    remedy: str
    def __init__(self, reason: _Optional[str] = ..., devices: _Optional[int] = ..., detail: _Optional[str] = ..., remedy: _Optional[str] = ...) -> None: ...

class ExplainResponse(_message.Message):
    __slots__ = ("summary", "obstacles")
    SUMMARY_FIELD_NUMBER: _ClassVar[int]
    OBSTACLES_FIELD_NUMBER: _ClassVar[int]
    summary: str
    obstacles: _containers.RepeatedCompositeFieldContainer[Obstacle]
    def __init__(self, summary: _Optional[str] = ..., obstacles: _Optional[_Iterable[_Union[Obstacle, _Mapping]]] = ...) -> None: ...

class AuditLine(_message.Message):
    __slots__ = ("number", "at", "kind", "subject", "actor", "detail")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    AT_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SUBJECT_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    DETAIL_FIELD_NUMBER: _ClassVar[int]
    number: int
    at: float
    kind: str
    subject: str
    actor: str
    detail: str
    def __init__(self, number: _Optional[int] = ..., at: _Optional[float] = ..., kind: _Optional[str] = ..., subject: _Optional[str] = ..., actor: _Optional[str] = ..., detail: _Optional[str] = ...) -> None: ...

class GetReportResponse(_message.Message):
    __slots__ = ("job", "mode", "executions_per_task", "standing", "story")
    JOB_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    EXECUTIONS_PER_TASK_FIELD_NUMBER: _ClassVar[int]
    STANDING_FIELD_NUMBER: _ClassVar[int]
    STORY_FIELD_NUMBER: _ClassVar[int]
    job: Job
    mode: VerifyMode
    executions_per_task: float
    standing: str
    story: _containers.RepeatedCompositeFieldContainer[AuditLine]
    def __init__(self, job: _Optional[_Union[Job, _Mapping]] = ..., mode: _Optional[_Union[VerifyMode, str]] = ..., executions_per_task: _Optional[float] = ..., standing: _Optional[str] = ..., story: _Optional[_Iterable[_Union[AuditLine, _Mapping]]] = ...) -> None: ...

class DeviceRequest(_message.Message):
    __slots__ = ("device",)
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    device: str
    def __init__(self, device: _Optional[str] = ...) -> None: ...

class DeviceResponse(_message.Message):
    __slots__ = ("device",)
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    device: Device
    def __init__(self, device: _Optional[_Union[Device, _Mapping]] = ...) -> None: ...

class ListDevicesRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListDevicesResponse(_message.Message):
    __slots__ = ("devices",)
    DEVICES_FIELD_NUMBER: _ClassVar[int]
    devices: _containers.RepeatedCompositeFieldContainer[Device]
    def __init__(self, devices: _Optional[_Iterable[_Union[Device, _Mapping]]] = ...) -> None: ...

class SetDeviceRequest(_message.Message):
    __slots__ = ("device", "state", "reason")
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    device: str
    state: DeviceState
    reason: str
    def __init__(self, device: _Optional[str] = ..., state: _Optional[_Union[DeviceState, str]] = ..., reason: _Optional[str] = ...) -> None: ...

class GetInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetInfoResponse(_message.Message):
    __slots__ = ("version", "now", "started_at", "limits", "counters")
    class LimitsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    class CountersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: float
        def __init__(self, key: _Optional[str] = ..., value: _Optional[float] = ...) -> None: ...
    VERSION_FIELD_NUMBER: _ClassVar[int]
    NOW_FIELD_NUMBER: _ClassVar[int]
    STARTED_AT_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    COUNTERS_FIELD_NUMBER: _ClassVar[int]
    version: str
    now: float
    started_at: float
    limits: _containers.ScalarMap[str, float]
    counters: _containers.ScalarMap[str, float]
    def __init__(self, version: _Optional[str] = ..., now: _Optional[float] = ..., started_at: _Optional[float] = ..., limits: _Optional[_Mapping[str, float]] = ..., counters: _Optional[_Mapping[str, float]] = ...) -> None: ...

class PutBlobRequest(_message.Message):
    __slots__ = ("expected", "chunk")
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    expected: bytes
    chunk: bytes
    def __init__(self, expected: _Optional[bytes] = ..., chunk: _Optional[bytes] = ...) -> None: ...

class PutBlobResponse(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    def __init__(self, digest: _Optional[bytes] = ...) -> None: ...

class GetBlobRequest(_message.Message):
    __slots__ = ("digest", "offset")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    offset: int
    def __init__(self, digest: _Optional[bytes] = ..., offset: _Optional[int] = ...) -> None: ...

class GetBlobResponse(_message.Message):
    __slots__ = ("chunk",)
    CHUNK_FIELD_NUMBER: _ClassVar[int]
    chunk: bytes
    def __init__(self, chunk: _Optional[bytes] = ...) -> None: ...

class MissingBlobsRequest(_message.Message):
    __slots__ = ("digests",)
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    digests: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, digests: _Optional[_Iterable[bytes]] = ...) -> None: ...

class MissingBlobsResponse(_message.Message):
    __slots__ = ("digests",)
    DIGESTS_FIELD_NUMBER: _ClassVar[int]
    digests: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, digests: _Optional[_Iterable[bytes]] = ...) -> None: ...

class LocateBlobRequest(_message.Message):
    __slots__ = ("digest", "put_bytes")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PUT_BYTES_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    put_bytes: int
    def __init__(self, digest: _Optional[bytes] = ..., put_bytes: _Optional[int] = ...) -> None: ...

class LocateBlobResponse(_message.Message):
    __slots__ = ("url",)
    URL_FIELD_NUMBER: _ClassVar[int]
    url: str
    def __init__(self, url: _Optional[str] = ...) -> None: ...

class Call(_message.Message):
    __slots__ = ("number", "path", "request")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    number: int
    path: str
    request: bytes
    def __init__(self, number: _Optional[int] = ..., path: _Optional[str] = ..., request: _Optional[bytes] = ...) -> None: ...

class CallsRequest(_message.Message):
    __slots__ = ("calls",)
    CALLS_FIELD_NUMBER: _ClassVar[int]
    calls: _containers.RepeatedCompositeFieldContainer[Call]
    def __init__(self, calls: _Optional[_Iterable[_Union[Call, _Mapping]]] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("number", "reply", "error")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    REPLY_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    number: int
    reply: bytes
    error: bytes
    def __init__(self, number: _Optional[int] = ..., reply: _Optional[bytes] = ..., error: _Optional[bytes] = ...) -> None: ...

class CallsResponse(_message.Message):
    __slots__ = ("answers",)
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    answers: _containers.RepeatedCompositeFieldContainer[Answer]
    def __init__(self, answers: _Optional[_Iterable[_Union[Answer, _Mapping]]] = ...) -> None: ...

class ErrorDetail(_message.Message):
    __slots__ = ("code", "message", "remedy", "attributes")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    REMEDY_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    code: str
    message: str
    remedy: str
    attributes: str
    def __init__(self, code: _Optional[str] = ..., message: _Optional[str] = ..., remedy: _Optional[str] = ..., attributes: _Optional[str] = ...) -> None: ...
