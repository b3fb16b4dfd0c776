"""Signed jobs: strict both ways, every misfit named; and pages of arguments."""

import dataclasses
import json

import msgpack
import pytest

from corpgrid.domain import ids
from corpgrid.domain.ids import Digest
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
from corpgrid.errors import (
    DigestError,
    ExpiredError,
    JobFileError,
    LimitError,
    MalformedDataError,
    SignatureError,
    UntrustedKeyError,
    UsageError,
)
from corpgrid.trust import canonical, jobspec, limits
from corpgrid.trust.digest import digest
from corpgrid.trust.envelope import seal
from corpgrid.trust.jobspec import (
    JOB_TYPE,
    check_page_list,
    decode_spec,
    encode_spec,
    item_place,
    job_id,
    make_pages,
    page_items,
    page_tasks_of,
    sign_job,
    verify_job,
)
from corpgrid.trust.keys import Keyring, PrivateKey

KEY = PrivateKey.from_raw(bytes(32))
RING = Keyring([KEY.public])
NOW = 1_700_000_000.0
SPEC = JobSpec(
    name="sweep",
    bundle=digest(b"bundle"),
    arguments=Arguments(tasks=10, page_tasks=4, pages=digest(b"pages")),
    not_after=NOW + 60,
    nonce="n-1",
)
FULL = dataclasses.replace(
    SPEC,
    inputs={"data/a.csv": digest(b"a"), "b": digest(b"b")},
    requirements=Requirements(
        engine="cuda",
        operating_systems=("linux", "windows"),
        architectures=("arm64",),
        python="3.11",
        memory_bytes=1 << 33,
        cpus=2,
        gpus=1,
        gpu_backend="cuda",
        vram_bytes=1 << 34,
        sites=("Zürich",),
        labels=("fast", "new"),
    ),
    limits=Limits(wall_seconds=1.5, processes=1),
    verify=VerifyPolicy(mode=VerifyMode.QUORUM, rate=0.25, comparator=Comparator(kind=ComparatorKind.FLOAT, rtol=0.0)),
    isolation=Isolation.TASK,
    priority=100,
    tenant="lab",
)


def payload(**fields) -> bytes:
    """The specification's payload with some fields changed; ``section__field`` for a nested one, ... removes one."""
    data = json.loads(encode_spec(SPEC))
    for name, value in fields.items():
        *sections, last = name.split("__")
        owner = data
        for section in sections:
            owner = owner[section]
        if value is ...:
            del owner[last]
        else:
            owner[last] = value
    return canonical.encode(data)


@pytest.mark.parametrize("spec", [SPEC, FULL], ids=["defaults", "full"])
def test_what_was_signed_is_read(spec):
    verified = verify_job(sign_job(spec, KEY), keyring=RING, now=NOW)
    assert verified.spec == spec
    assert verified.submitter == KEY.public.key_id
    assert verified.id == job_id(spec) == ids.job_id(digest(encode_spec(spec)))


@pytest.mark.parametrize(
    ("field", "misfit"),
    [
        ("requirements__cpus", True),
        ("requirements__cpus", 1.0),
        ("limits__wall_seconds", 600),
        ("limits__processes", 64.0),
        ("verify__eps", 0),
        ("verify__rate", False),
    ],
)
def test_a_section_that_was_read_before_excuses_none_that_only_equals_it(field, misfit):
    good = decode_spec(payload())
    assert decode_spec(payload()).limits is good.limits, "the same section is read once"
    with pytest.raises(JobFileError, match=field.replace("__", ".")):
        decode_spec(payload(**{field: misfit}))
    with pytest.raises(JobFileError, match=field.replace("__", ".")):
        decode_spec(payload(**{field: misfit}))  # nor is it known from then on
    assert decode_spec(payload()) == good


def test_every_field_is_in_the_payload():
    data = json.loads(encode_spec(SPEC))
    assert set(data) == {field.name for field in dataclasses.fields(JobSpec)}
    assert data["not_after"] == SPEC.not_after
    assert data["bundle"] == "b3:" + digest(b"bundle").hex()


def test_whole_seconds_are_seconds():
    spec = dataclasses.replace(SPEC, not_after=int(SPEC.not_after), limits=Limits(wall_seconds=600))
    assert encode_spec(spec) == encode_spec(SPEC)


def test_the_same_request_is_the_same_job():
    assert job_id(SPEC) == job_id(dataclasses.replace(SPEC))
    assert job_id(SPEC) != job_id(dataclasses.replace(SPEC, nonce="n-2"))
    other = PrivateKey.generate()
    assert verify_job(sign_job(SPEC, other), keyring=Keyring([other.public]), now=NOW).id == job_id(SPEC)


def test_a_job_expires():
    envelope = sign_job(SPEC, KEY)
    assert verify_job(envelope, keyring=RING, now=SPEC.not_after)
    with pytest.raises(ExpiredError, match="'sweep' expired 5 s ago"):
        verify_job(envelope, keyring=RING, now=SPEC.not_after + 5)


def test_only_a_trusted_signature_over_a_job_counts():
    with pytest.raises(UntrustedKeyError):
        verify_job(sign_job(SPEC, PrivateKey.generate()), keyring=RING, now=NOW)
    with pytest.raises(SignatureError, match="is wanted"):
        verify_job(seal("application/other", encode_spec(SPEC), KEY), keyring=RING, now=NOW)
    with pytest.raises(SignatureError, match="no signed envelope"):
        verify_job(b"{}", keyring=RING, now=NOW)
    with pytest.raises(JobFileError, match="cannot be read"):
        verify_job(seal(JOB_TYPE, b'{"name": "spaced"}', KEY), keyring=RING, now=NOW)


MISFITS = [
    ({"extra": 1}, "extra is not a field; the fields here are name, bundle, arguments"),
    ({"limits__extra": 1}, "limits.extra is not a field; the fields here are wall_seconds"),
    ({"nonce": ...}, "nonce is missing"),
    ({"verify__comparator__kind": ...}, "verify.comparator.kind is missing"),
    ({"name": ""}, "name is ''; it must be printable text of 1 to 200"),
    ({"name": "x" * 201}, "name is 'xxx"),
    ({"name": "a\x1b[2J"}, "name is"),
    ({"name": "a\u202eb"}, "name is"),
    ({"name": 1}, "name is 1"),
    ({"bundle": "b3:" + "A" * 64}, "bundle is 'b3:AAA"),
    ({"bundle": "b3:" + "a" * 63}, "bundle is"),
    ({"bundle": "b3: " + "a" * 64}, "bundle is"),
    ({"bundle": None}, "bundle is None; it must be a digest"),
    ({"arguments__tasks": 0}, "arguments.tasks is 0; it must be a whole number from 1 to 10,000,000"),
    ({"arguments__tasks": 10_000_001}, "arguments.tasks is 10000001"),
    ({"arguments__tasks": True}, "arguments.tasks is True"),
    ({"arguments__tasks": 10.0}, "arguments.tasks is 10.0"),
    ({"arguments__page_tasks": 0}, "arguments.page_tasks is 0"),
    ({"arguments__tasks": 100_001, "arguments__page_tasks": 1}, "arguments.page_tasks makes 100,001 pages"),
    ({"arguments": []}, "arguments is .*; it must be a map of the fields tasks"),
    ({"not_after": 1}, "not_after is 1; it must be a number with a point"),
    ({"not_after": -1.0}, "not_after is -1.0"),
    ({"not_after": 1e300}, "not_after is 1e.300"),
    ({"nonce": "a b"}, "nonce is 'a b'; it must be 1 to 64 letters"),
    ({"nonce": "a\n"}, "nonce is"),
    ({"inputs": {"../a": "b3:" + "a" * 64}}, "inputs may not have the file name '../a': it has the component '..'"),
    ({"inputs": {"a": "b3:" + "a" * 64, "A": "b3:" + "a" * 64}}, "inputs may not have these file names together"),
    ({"inputs": {"a": "x"}}, "inputs.a is 'x'; it must be a digest"),
    ({"inputs": []}, "inputs is"),
    ({"requirements__engine": "java"}, "requirements.engine is 'java'; it must be one of 'python', 'command'"),
    ({"requirements__operating_systems": ["dos"]}, "requirements.operating_systems.0 is 'dos'"),
    ({"requirements__operating_systems": "linux"}, "requirements.operating_systems is 'linux'; it must be a list"),
    ({"requirements__python": "3"}, "requirements.python is '3'"),
    ({"requirements__python": "3.011"}, "requirements.python is"),
    ({"requirements__cpus": 0}, "requirements.cpus is 0"),
    ({"requirements__gpus": -1}, "requirements.gpus is -1"),
    ({"requirements__gpu_backend": "CUDA"}, "requirements.gpu_backend is 'CUDA'"),
    ({"requirements__sites": [""]}, "requirements.sites.0 is ''"),
    ({"requirements__labels": ["x"] * 65}, "requirements.labels is"),
    ({"limits__wall_seconds": 0.0}, "limits.wall_seconds is 0.0"),
    ({"limits__memory_bytes": 1}, "limits.memory_bytes is 1"),
    ({"limits__processes": 0}, "limits.processes is 0"),
    ({"limits__output_bytes": -1}, "limits.output_bytes is -1"),
    ({"limits__result_bytes": 1 << 40}, "limits.result_bytes is"),
    ({"limits__max_attempts": 0}, "limits.max_attempts is 0"),
    ({"verify__mode": "hope"}, "verify.mode is 'hope'; it must be one of 'none', 'audit'"),
    ({"verify__rate": 1.5}, "verify.rate is 1.5"),
    ({"verify__rate": "all"}, "verify.rate is 'all'"),
    ({"verify__eps": 0.0}, "verify.eps is 0.0"),
    (
        {"verify__mode": "quorum", "verify__min_copies": 3},
        "verify.target_copies is 2; it must be at least min_copies, 3",
    ),
    ({"verify__mode": "quorum", "verify__max_total": 1}, "verify.max_total is 1"),
    ({"verify__comparator__rtol": -0.1}, "verify.comparator.rtol is -0.1"),
    ({"isolation": "none"}, "isolation is 'none'"),
    ({"priority": 101}, "priority is 101"),
    ({"priority": -1}, "priority is -1"),
    ({"tenant": ""}, "tenant is ''"),
]


@pytest.mark.parametrize(("fields", "why"), MISFITS, ids=[str(fields)[:60] for fields, _ in MISFITS])
def test_a_misfit_is_named(fields, why):
    with pytest.raises(JobFileError, match=why):
        decode_spec(payload(**fields))


def test_a_payload_that_is_no_map_is_refused():
    with pytest.raises(JobFileError, match="the record is"):
        decode_spec(b"[]")
    with pytest.raises(JobFileError, match="stands twice"):
        decode_spec(payload().replace(b'"nonce":', b'"nonce":"a","nonce":'))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": ""}, "name is ''"),
        ({"bundle": Digest(b"short")}, "bundle is b'short'"),
        ({"priority": 50.0}, "priority is 50.0"),
        ({"not_after": float("nan")}, "not_after is nan"),
        ({"not_after": float("inf")}, "not_after is inf"),
        ({"not_after": 10**400}, "not_after is 1000"),
        ({"limits": None}, "limits is None; it must be a Limits"),
        ({"inputs": {"a/../b": digest(b"")}}, "inputs may not"),
        ({"inputs": {"\udc80": digest(b"")}}, "not Unicode"),
        ({"inputs": {1: digest(b"")}}, "inputs is"),
        ({"arguments": Arguments(tasks=None, page_tasks=1, pages=digest(b""))}, "arguments.tasks is None"),
    ],
)
def test_a_misfit_is_not_signed(changes, why):
    with pytest.raises(JobFileError, match=why):
        sign_job(dataclasses.replace(SPEC, **changes), KEY)


def test_a_specification_has_a_largest_size(monkeypatch):
    monkeypatch.setattr(jobspec, "MAX_JOB_BYTES", 100)
    with pytest.raises(JobFileError, match="MAX_JOB_BYTES allows 100"):
        encode_spec(SPEC)


def test_the_largest_specification_fits_its_envelope():
    inputs = {f"{place}/{'x' * 250}/{'y' * 250}/{'z' * 250}/{'w' * 200}/{place}": digest(b"") for place in range(1_000)}
    spec = dataclasses.replace(SPEC, inputs=inputs)
    assert len(encode_spec(spec)) > limits.MAX_JOB_BYTES * 9 // 10
    assert verify_job(sign_job(spec, KEY), keyring=RING, now=NOW).spec == spec


@pytest.mark.parametrize(("count", "page_tasks"), [(1, 1), (10, 4), (8, 4), (3, 100), (5, 1)])
def test_every_item_is_found_in_its_page(count, page_tasks):
    items = [b"item %d" % place for place in range(count)]
    pages, page_list, arguments = make_pages(iter(items), page_tasks)
    digests = check_page_list(arguments, page_list)
    assert digests == tuple(map(digest, pages))
    assert [len(page_items(page)) for page in pages] == [page_tasks_of(arguments, at) for at in range(len(pages))]
    for index, item in enumerate(items):
        number, offset = item_place(arguments, index)
        assert page_items(pages[number])[offset] == item
    for index in (-1, count):
        with pytest.raises(UsageError, match=f"task {index} is not one of"):
            item_place(arguments, index)


def test_pages_have_limits(monkeypatch):
    with pytest.raises(JobFileError, match="no tasks"):
        make_pages([], 4)
    for page_tasks in (0, -1, limits.MAX_PAGE_TASKS + 1):
        with pytest.raises(JobFileError, match=f"page_tasks is {page_tasks}"):
            make_pages([b""], page_tasks)
    monkeypatch.setattr(jobspec, "MAX_PAGE_BYTES", 100)
    with pytest.raises(LimitError, match="page 1 is 103 where MAX_PAGE_BYTES allows 100"):
        make_pages([b"", bytes(100)], 1)
    monkeypatch.setattr(jobspec, "MAX_PAGES", 3)
    with pytest.raises(LimitError, match="number of pages is 4 where MAX_PAGES allows 3"):
        make_pages([b""] * 4, 1)
    monkeypatch.setattr(jobspec, "MAX_TASKS", 3)
    with pytest.raises(LimitError, match="number of tasks is 4 where MAX_TASKS allows 3"):
        make_pages([b""] * 4, 2)


def test_another_page_list_is_refused():
    _, page_list, arguments = make_pages([b"a", b"b", b"c"], 1)
    swapped = page_list[32:64] + page_list[:32] + page_list[64:]
    for wrong in (swapped, page_list[:-32], page_list + page_list[:32], b""):
        with pytest.raises(DigestError, match="the page list is"):
            check_page_list(arguments, wrong)
    with pytest.raises(DigestError, match="not those of 4 pages"):
        check_page_list(dataclasses.replace(arguments, tasks=4), page_list)


@pytest.mark.parametrize(
    "page",
    [
        b"",
        b"\xc0",
        msgpack.packb([]),
        msgpack.packb(["text"]),
        msgpack.packb([b"a", 1]),
        msgpack.packb({b"a": b"b"}),
        msgpack.packb([[b"a"]]),
        msgpack.packb([msgpack.ExtType(1, b"a")]),
        msgpack.packb([b"a"]) + b"\x00",
        msgpack.packb([b"a"])[:-1],
        b"\xdd\xff\xff\xff\xff",
        b"\xc1",
        b"\x91" * 2_000,
    ],
)
def test_what_is_no_page_is_refused(page):
    with pytest.raises(MalformedDataError, match="no page"):
        page_items(page)
