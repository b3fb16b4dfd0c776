"""Generated job specifications: what is written is read, one way; flips and foreign fields are refused."""

import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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
from corpgrid.errors import JobFileError, TrustError
from corpgrid.trust import canonical
from corpgrid.trust.job_fields import ARCHITECTURES, ENGINES, GPU_BACKENDS, OPERATING_SYSTEMS
from corpgrid.trust.jobspec import (
    check_page_list,
    decode_spec,
    encode_spec,
    item_place,
    make_pages,
    page_items,
    sign_job,
    verify_job,
)
from corpgrid.trust.keys import Keyring, PrivateKey

KEY = PrivateKey.from_raw(bytes(32))
RING = Keyring([KEY.public])
DIGESTS = st.binary(min_size=32, max_size=32).map(Digest)
PRINTABLE = st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=20)
WORDS = st.lists(PRINTABLE, max_size=3).map(tuple)
TOLERANCES = st.floats(0.0, 1e300)


def some(*words: str):
    return st.lists(st.sampled_from(words), unique=True).map(tuple)


ARGUMENTS = st.builds(
    lambda tasks, page_tasks, pages: Arguments(tasks=tasks, page_tasks=page_tasks, pages=pages),
    st.integers(1, 10_000_000),
    st.integers(100, 100_000),
    DIGESTS,
)
REQUIREMENTS = st.builds(
    Requirements,
    engine=st.sampled_from(ENGINES),
    operating_systems=some(*OPERATING_SYSTEMS),
    architectures=some(*ARCHITECTURES),
    python=st.sampled_from(["", "3.11", "3.9"]),
    memory_bytes=st.integers(0, 1 << 40),
    disk_bytes=st.integers(0, 1 << 40),
    cpus=st.integers(1, 4_096),
    gpus=st.integers(0, 64),
    gpu_backend=st.sampled_from(["", *GPU_BACKENDS]),
    vram_bytes=st.integers(0, 1 << 40),
    sites=WORDS,
    owners=WORDS,
    labels=WORDS,
)
LIMITS = st.builds(
    Limits,
    wall_seconds=st.floats(0.001, 86_400.0) | st.integers(1, 86_400),
    memory_bytes=st.integers(1 << 20, 1 << 44),
    processes=st.integers(1, 100_000),
    output_bytes=st.integers(0, 1 << 40),
    output_files=st.integers(0, 1_000_000),
    output_depth=st.integers(0, 64),
    log_bytes=st.integers(0, 64 << 20),
    result_bytes=st.integers(1, 48 << 20),
    max_attempts=st.integers(1, 1_000),
)
POLICIES = st.builds(
    lambda copies, **rest: VerifyPolicy(min_copies=copies[0], target_copies=copies[1], max_total=copies[2], **rest),
    st.lists(st.integers(1, 64), min_size=3, max_size=3).map(sorted),
    mode=st.sampled_from(VerifyMode),
    rate=st.none() | st.floats(0.0, 1.0),
    eps=st.floats(1e-12, 1.0),
    max_error=st.integers(0, 1_000),
    comparator=st.builds(
        Comparator, kind=st.sampled_from(ComparatorKind), rtol=TOLERANCES, atol=TOLERANCES, relative_l2=TOLERANCES
    ),
)
NAMES = st.from_regex(r"[a-y]{1,8}(/[a-y]{1,8}){0,3}\.z", fullmatch=True)
SPECS = st.builds(
    JobSpec,
    name=PRINTABLE,
    bundle=DIGESTS,
    arguments=ARGUMENTS,
    not_after=st.floats(0.0, 253_402_300_799.0),
    nonce=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    inputs=st.dictionaries(NAMES, DIGESTS, max_size=3),
    requirements=REQUIREMENTS,
    limits=LIMITS,
    verify=POLICIES,
    isolation=st.sampled_from(Isolation),
    priority=st.integers(0, 100),
    tenant=st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True),
)
SPEC = JobSpec(
    name="sweep",
    bundle=Digest(bytes(32)),
    arguments=Arguments(tasks=10, page_tasks=4, pages=Digest(bytes(32))),
    not_after=1e9,
    nonce="n",
    inputs={"a/b": Digest(bytes(32))},
)
ENVELOPE = sign_job(SPEC, KEY)


@given(SPECS)
def test_what_is_written_is_read(spec):
    payload = encode_spec(spec)
    assert decode_spec(payload) == spec
    assert encode_spec(decode_spec(payload)) == payload


@given(SPECS)
def test_what_is_signed_is_verified(spec):
    verified = verify_job(sign_job(spec, KEY), keyring=RING, now=spec.not_after)
    assert (verified.spec, verified.submitter) == (spec, KEY.public.key_id)


@given(st.integers(0, 8 * len(ENVELOPE) - 1))
@settings(max_examples=300)
def test_a_flipped_bit_is_refused(bit):
    flipped = bytearray(ENVELOPE)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(TrustError):
        verify_job(bytes(flipped), keyring=RING, now=0.0)


def places(data: object, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(data, dict) or path == ("inputs",):
        return [path]
    return [path, *(place for name, entry in data.items() for place in places(entry, (*path, name)))]


FIELDS = [place for place in places(json.loads(encode_spec(SPEC))) if place]
FOREIGN = st.sampled_from([None, True, -1, 1 << 60, 0.5, -1e9, "", "\x00", [], {}, [1], {"a": 1}, "x" * 1_000])


@given(st.sampled_from(FIELDS), FOREIGN)
@settings(max_examples=300)
def test_a_foreign_value_is_refused_by_name_or_fits(place, value):
    data = json.loads(encode_spec(SPEC))
    owner = data
    for name in place[:-1]:
        owner = owner[name]
    owner[place[-1]] = value
    payload = canonical.encode(data)
    story = ""
    try:
        again = encode_spec(decode_spec(payload))
    except JobFileError as error:
        story = str(error)
    assert story.startswith((".".join(place), place[0])) if story else again == payload


@given(st.sampled_from([(), *(place for place in FIELDS if place[:-1] == () or place[0] == "verify")]), st.data())
def test_a_field_too_many_or_too_few_is_refused(place, data):
    fields = json.loads(encode_spec(SPEC))
    owner = fields
    for name in place[:-1]:
        owner = owner[name]
    if data.draw(st.booleans()) and place:
        del owner[place[-1]]
    else:
        owner["foreign"] = 1
    with pytest.raises(JobFileError, match=r"is missing|is not a field"):
        decode_spec(canonical.encode(fields))


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=40), st.integers(1, 50))
def test_every_item_is_where_it_should_be(items, page_tasks):
    pages, page_list, arguments = make_pages(items, page_tasks)
    spec = dataclasses.replace(SPEC, arguments=arguments)
    assert decode_spec(encode_spec(spec)).arguments == arguments
    assert len(check_page_list(arguments, page_list)) == len(pages)
    placed = [item_place(arguments, index) for index in range(arguments.tasks)]
    assert [page_items(pages[number])[offset] for number, offset in placed] == items
