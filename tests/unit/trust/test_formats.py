"""What was once signed stays readable: a change of any of these bytes is a new version of its format.

The bytes come from fixed keys and values; whoever changes a format on purpose gives it a new number, keeps the reader
of the old one, and adds a line here.
"""

from corpgrid.domain.ids import Digest, Epoch, JobId
from corpgrid.domain.job import Arguments, JobSpec
from corpgrid.domain.messages import Batch, Item, Outcome, OutputFile
from corpgrid.trust.bundle import BundleFile, ModuleEntry, Wheel, build_bundle
from corpgrid.trust.digest import digest
from corpgrid.trust.jobspec import encode_spec, job_id, make_pages, sign_job
from corpgrid.trust.keys import PrivateKey
from corpgrid.trust.results import sign_batch

KEY = PrivateKey.from_raw(bytes(32))
SPEC = JobSpec(
    name="sweep",
    bundle=Digest(bytes(32)),
    arguments=Arguments(tasks=3, page_tasks=2, pages=Digest(bytes(32))),
    not_after=1e9,
    nonce="n",
)


def test_names_of_keys():
    assert KEY.public.key_id == "key_khytmww5sb6d3sxk"
    assert KEY.public.device_id == "dev_khytmww5sb6d3sxk"


def test_jobs_v1():
    assert job_id(SPEC) == "job_a6rzijxizfenztba"
    assert digest(sign_job(SPEC, KEY)).hex() == "6ea208e86d1403e34abdbe5efa4bad5c0aa9c5c179b061a64f01099ec510d3f6"
    assert encode_spec(SPEC).startswith(b'{"arguments":{"page_tasks":2,"pages":"b3:0000')


def test_pages_v1():
    pages, page_list, arguments = make_pages([b"a", b"b", b"c"], 2)
    assert pages == [b"\x92\xc4\x01a\xc4\x01b", b"\x91\xc4\x01c"]
    assert page_list == digest(pages[0]) + digest(pages[1])
    assert arguments.pages == digest(page_list)


def test_bundles_v1():
    files = {"search.py": BundleFile(b"def f(x): return x\n"), "run.sh": BundleFile(b"#!/bin/sh\n", executable=True)}
    wheels = [Wheel("click-8.1.0-py3-none-any.whl", Digest(bytes(32)), 5)]
    bundle = build_bundle(files, engine="python", entry=ModuleEntry("search", "f"), environment=wheels, key=KEY)
    assert digest(bundle).hex() == "9762fd1d6827cfc9bf8d2afac63bb242263eb91ae9e1dea8c779017df3362799"


def test_batches_v1():
    items = (
        Item(0, 0, Epoch(7), Outcome.RESULT, payload=b"\xc0", seconds=0.25, log=b"hello\n"),
        Item(1, 2, Epoch(7), Outcome.RESULT, blob=digest(b""), outputs=(OutputFile("a/b.txt", digest(b"b"), 1),)),
        Item(2, 0, Epoch(8), Outcome.FAILED, reason="raised", detail="Traceback", log_dropped=5),
    )
    signed = sign_batch(Batch(JobId("job_a"), KEY.public.device_id, items), KEY)
    assert digest(signed.signature).hex() == "8d285104b203859761a364402d5ec9d11a1524af64c3f8e7a12bfc5fae2ca8d8"
