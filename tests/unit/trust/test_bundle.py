"""Bundles: one content, one spelling; whatever is not as it was signed is refused."""

import io
import json
import tarfile

import pytest

from corpgrid.domain.ids import Digest
from corpgrid.errors import BundleError, DigestError, SignatureError, TrustError, UntrustedKeyError
from corpgrid.trust import bundle as bundles
from corpgrid.trust import canonical, limits
from corpgrid.trust.archive import Member, read_archive, write_archive
from corpgrid.trust.bundle import (
    MANIFEST_TYPE,
    BundleFile,
    CommandEntry,
    FunctionEntry,
    Manifest,
    ModuleEntry,
    Wheel,
    build_bundle,
    entry_fields,
    environment_digest,
    verify_bundle,
)
from corpgrid.trust.digest import digest
from corpgrid.trust.envelope import seal
from corpgrid.trust.keys import Keyring, PrivateKey

KEY = PrivateKey.from_raw(bytes(32))
RING = Keyring([KEY.public])
FILES = {
    "z.py": BundleFile(b"def f(x): return x\n"),
    "lib/table.csv": BundleFile(b"1,2\n" * 200),
    "run.sh": BundleFile(b"#!/bin/sh\n", executable=True),
    "empty": BundleFile(b""),
    "block": BundleFile(b"x" * 512),
    "manifest.json": BundleFile(b"mine"),
}
WHEELS = [
    Wheel("scipy-1.17.1-cp311-cp311-manylinux_2_17_x86_64.whl", digest(b"scipy"), 7),
    Wheel("click-8.5.1-py3-none-any.whl", digest(b"click"), 5),
]
ENTRY = ModuleEntry("z", "f")


def built(files=FILES, key=KEY, **fields) -> bytes:
    return build_bundle(files, **{"engine": "python", "entry": ENTRY, "key": key, **fields})


def verified(content: bytes, expected: Digest | None = None, ring: Keyring = RING):
    return verify_bundle(content, expected=expected, keyring=ring)


def resealed(*, order=None, **fields) -> bytes:
    """A bundle whose signer signed something that ``build_bundle`` would not have."""
    data = json.loads(read_archive(built(), max_members=100)[0].content)
    data.update(fields)
    payload = canonical.encode(data)
    members = [
        Member("manifest.json", payload),
        Member("manifest.sig", seal(MANIFEST_TYPE, payload, KEY)),
        *(Member(f"files/{name}", content, mode) for name, (content, mode) in sorted(FILES.items())),
    ]
    return write_archive(order(members) if order else members)


def test_what_was_built_is_verified():
    content = built(
        python="3.11", environment=WHEELS, network=True, gpus=2, entry=CommandEntry(("sh", "run.sh", "{lr}"))
    )
    found = verified(content, digest(content))
    assert found.digest == digest(content)
    assert found.signer == KEY.public.key_id
    assert found.files == FILES
    assert list(found.files) == sorted(FILES)
    assert found.manifest == Manifest(
        engine="python",
        entry=CommandEntry(("sh", "run.sh", "{lr}")),
        python="3.11",
        environment=tuple(sorted(WHEELS)),
        network=True,
        gpus=2,
        files=found.manifest.files,
    )
    assert [(one.name, one.digest, one.size_bytes, one.executable) for one in found.manifest.files] == [
        (name, digest(file.content), len(file.content), file.executable) for name, file in sorted(FILES.items())
    ]


def test_the_same_files_are_the_same_bundle():
    backwards = dict(reversed(FILES.items()))
    assert built() == built(backwards)
    assert built(environment=WHEELS) == built(environment=WHEELS[::-1])
    assert built() != built(key=PrivateKey.generate())


def test_any_tar_can_list_it():
    with tarfile.open(fileobj=io.BytesIO(built()), mode="r:") as tar:
        members = tar.getmembers()
        assert [one.name for one in members] == [
            "manifest.json",
            "manifest.sig",
            *(f"files/{name}" for name in sorted(FILES)),
        ]
        for one in members[2:]:
            name = one.name.removeprefix("files/")
            assert tar.extractfile(one).read() == FILES[name].content
            assert one.mode == (0o755 if FILES[name].executable else 0o644)
            assert (one.mtime, one.uid, one.gid, one.uname, one.gname) == (0, 0, 0, "", "")


def test_its_headers_are_those_of_ustar():
    info = tarfile.TarInfo("a" * 90 + "/" + "b" * 90)
    info.size, info.mode = 5, 0o755
    ours = write_archive([Member(info.name, b"12345", executable=True)])
    assert ours[:512] == info.tobuf(tarfile.USTAR_FORMAT)
    assert read_archive(ours, max_members=1) == [Member(info.name, b"12345", executable=True)]


def test_an_empty_bundle_is_one():
    assert verified(built({})).files == {}


def test_the_bundle_that_was_asked_for():
    with pytest.raises(DigestError, match="the bundle is b3:"):
        verified(built(), digest(b"another"))


def test_only_a_trusted_signer_counts():
    with pytest.raises(UntrustedKeyError):
        verified(built(key=PrivateKey.generate()))


def test_a_bundle_has_one_signature():
    members = read_archive(built(), max_members=100)
    twice = seal(MANIFEST_TYPE, members[0].content, KEY, PrivateKey.generate())
    with pytest.raises(SignatureError, match="this has 2"):
        verified(write_archive([members[0], members[1]._replace(content=twice), *members[2:]]))


def test_a_signature_over_another_manifest_does_not_count():
    ours, other = (read_archive(built(entry=entry), max_members=100) for entry in (ENTRY, ModuleEntry("z", "g")))
    with pytest.raises(SignatureError, match="another manifest"):
        verified(write_archive([ours[0], other[1], *ours[2:]]))
    wrong_type = seal("application/other", ours[0].content, KEY)
    with pytest.raises(SignatureError, match="is wanted"):
        verified(write_archive([ours[0], ours[1]._replace(content=wrong_type), *ours[2:]]))


def test_a_changed_file_is_refused():
    members = read_archive(built(), max_members=100)
    changed = [member._replace(content=member.content.replace(b"x", b"y")) for member in members]
    with pytest.raises(DigestError, match="'block' is"):
        verified(write_archive([*members[:2], *changed[2:]]))


@pytest.mark.parametrize(
    "order",
    [
        lambda members: members[1:],
        lambda members: members[::-1],
        lambda members: [members[1], members[0], *members[2:]],
        lambda members: members[:-1],
        lambda members: [*members, Member("files/zz", b"")],
        lambda members: [*members[:2], *members[:1:-1]],
        lambda members: [*members, members[-1]],
        lambda members: [*members[:-1], members[-1]._replace(executable=True)],
        lambda members: [*members[:-1], members[-1]._replace(content=b"")],
        lambda members: [*members[:-1], members[-1]._replace(name="files/../z.py")],
        lambda members: [members[0]._replace(executable=True), *members[1:]],
        lambda members: [members[0], members[1]._replace(executable=True), *members[2:]],
        lambda _: [],
    ],
)
def test_other_members_are_refused(order):
    with pytest.raises(BundleError):
        verified(resealed(order=order))


@pytest.mark.parametrize(
    ("files", "why"),
    [
        (["../a"], "'../a', which may not be in a bundle: it has the component '..'"),
        (["/a"], "component ''"),
        (["C:a"], "the character ':'"),
        (["a\0b"], "the character"),
        (["a\\b"], "the character"),
        (["nul"], "reserves"),
        (["u\u0308"], "normal form C"),
        (["a", "A"], "differ only in case"),
        (["a", "a/b"], "both a file and a folder"),
        (["x" * 101], "too long for a bundle"),
        (["a/" * 200 + "b"], "too long for a bundle"),
        (["\udc80"], "not Unicode"),
    ],
)
def test_names_that_may_not_be_used(files, why):
    with pytest.raises(BundleError, match=why):
        built({name: BundleFile(b"") for name in files})


def entry_of(name: str) -> dict:
    return {"name": name, "digest": "b3:" + digest(b"").hex(), "size_bytes": 0, "executable": False}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"files": [entry_of("../a")]}, "may not be in a bundle"),
        ({"files": [entry_of("b"), entry_of("a")]}, "in order of their names"),
        ({"files": [entry_of("a"), entry_of("a")]}, "stands twice"),
        ({"files": [entry_of("A"), entry_of("a")]}, "differ only in case"),
        ({"files": [{**entry_of("a"), "extra": 1}]}, "manifest.files.0.extra is not a field"),
        ({"files": []}, "not those of its manifest"),
        ({"format": "corpgrid.bundle/2"}, "manifest.format is 'corpgrid.bundle/2'"),
        ({"extra": 1}, "manifest.extra is not a field"),
        ({"engine": "java"}, "manifest.engine is 'java'"),
        ({"entry": {"kind": "shell"}}, "manifest.entry.kind is 'shell'; it must be one of 'function', 'module'"),
        ({"entry": []}, "manifest.entry is"),
        ({"entry": {"kind": "function", "file": "absent.pkl"}}, "'absent.pkl', which is not in the bundle"),
        ({"entry": {"kind": "module", "module": "a.b", "name": "os.system('x')"}}, "manifest.entry.name is"),
        ({"entry": {"kind": "command", "argv": []}}, "manifest.entry.argv is"),
        ({"entry": {"kind": "command", "argv": ["a\0b"]}}, "manifest.entry.argv.0 is"),
        ({"python": "2.7"}, "manifest.python is '2.7'"),
        ({"network": 1}, "manifest.network is 1"),
        ({"gpus": 65}, "manifest.gpus is 65"),
        ({"environment": [{"name": "../x.whl", "digest": "b3:" + "a" * 64, "size_bytes": 1}]}, "a wheel's file name"),
    ],
)
def test_a_manifest_that_may_not_be_signed(fields, why):
    with pytest.raises(BundleError, match=why):
        verified(resealed(**fields))


def test_a_manifest_that_is_no_json():
    members = [Member("manifest.json", b"{ }"), Member("manifest.sig", seal(MANIFEST_TYPE, b"{ }", KEY))]
    with pytest.raises(BundleError, match="manifest cannot be read"):
        verified(write_archive(members))


def test_a_wheel_stands_once():
    with pytest.raises(BundleError, match="no wheel may stand twice"):
        built(environment=[WHEELS[0], WHEELS[0]])


def test_arguments_are_unicode():
    with pytest.raises(BundleError, match=r"manifest.entry.argv.1 is"):
        built(entry=CommandEntry(("echo", "\udcff")))


@pytest.mark.parametrize("cut", [0, 1, 511, 512, 600, -1024, -1, -512])
def test_a_piece_of_a_bundle_is_none(cut):
    with pytest.raises((BundleError, TrustError)):
        verified(built()[:cut])


@pytest.mark.parametrize("more", [b"\0", bytes(512), bytes(10_240), b"x"])
def test_nothing_follows_a_bundle(more):
    with pytest.raises(BundleError, match="does not end"):
        verified(built() + more)


def test_other_forms_of_archive_are_refused():
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
        target = io.BytesIO()
        with tarfile.open(fileobj=target, mode="w", format=form) as tar:
            for member in read_archive(built(), max_members=100):
                info = tarfile.TarInfo(member.name)
                info.size, info.mtime = len(member.content), 1
                tar.addfile(info, io.BytesIO(member.content))
        with pytest.raises(BundleError):
            verified(target.getvalue())


def test_links_are_refused():
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        info = tarfile.TarInfo("manifest.json")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(BundleError, match="no canonical archive: see its header at byte 0"):
        verified(target.getvalue())


def test_too_large_names_the_limit(monkeypatch):
    content = built()
    monkeypatch.setattr(bundles.limits, "MAX_BUNDLE_FILES", 3)
    with pytest.raises(BundleError, match="more than 5 members"):
        verified(content)
    monkeypatch.undo()
    with pytest.raises(BundleError, match=r"manifest.files is .* 10,000 entries"):
        built({f"{place}": BundleFile(b"") for place in range(limits.MAX_BUNDLE_FILES + 1)})
    zeros = bytes(limits.MAX_BUNDLE_BYTES)
    with pytest.raises(BundleError, match="MAX_BUNDLE_BYTES allows 268,435,456") as caught:
        built({"a": BundleFile(zeros), "b": BundleFile(b"x")})
    assert "inputs" in caught.value.remedy
    with pytest.raises(BundleError, match="it has 268,435,457 bytes where MAX_BUNDLE_BYTES"):
        verified(zeros + b"x")
    with pytest.raises(BundleError, match=r"its manifest has .* MAX_JSON_BYTES"):
        built(entry=CommandEntry(("x" * limits.MAX_ARGUMENT_CHARACTERS,) * 300))


def test_environments_have_names():
    def name(**fields):
        return environment_digest(Manifest(engine="python", entry=ENTRY, **fields))

    wheels = tuple(WHEELS)
    assert name(environment=wheels) == name(environment=wheels, gpus=1, network=True)
    different = [
        name(),
        name(python="3.11"),
        name(environment=wheels),
        name(environment=wheels, python="3.11"),
        name(environment=wheels[:1]),
        name(environment=(wheels[0]._replace(digest=digest(b"other")), wheels[1])),
    ]
    assert len(set(different)) == len(different)


def test_entries_are_plain_data_for_the_runner():
    assert entry_fields(FunctionEntry("function.pkl")) == {"kind": "function", "file": "function.pkl"}
    assert entry_fields(ModuleEntry("a.b", "f")) == {"kind": "module", "module": "a.b", "name": "f"}
    assert entry_fields(CommandEntry(("sh", "{item}"))) == {"kind": "command", "argv": ["sh", "{item}"]}
