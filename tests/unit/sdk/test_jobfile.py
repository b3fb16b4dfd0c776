"""Job files: what is read, and every way in which one can be wrong."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.config import ClientConfig
from corpgrid.domain.job import Comparator, ComparatorKind, Isolation, Limits, Requirements, VerifyMode, VerifyPolicy
from corpgrid.errors import JobFileError, LimitError, UsageError
from corpgrid.runner.engines import command as command_engine
from corpgrid.sdk import jobfile, jobfile_items
from corpgrid.sdk.jobfile import JobFile, read_job_file
from corpgrid.sdk.jobfile_fields import Table
from corpgrid.sdk.request import Request
from tests.house.tree import ROOT

ENTRY = 'entry = "search:evaluate"\nfiles = ["search.py"]\n'
ITEMS = "[items]\nrange = [3]\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "search.py").write_text("def evaluate(x): return x\n")
    (tmp_path / "data.csv").write_text("1,2\n")
    (tmp_path / "lines.txt").write_bytes("one\n\nzwei é\r\nthree\x0bstill".encode())
    (tmp_path / "items.jsonl").write_text('{"a": 1}\n\n[2, null]\n')
    (tmp_path / "requirements.txt").write_text("numpy\n")
    return tmp_path


def read(folder: Path, text: str) -> JobFile:
    (folder / "job.toml").write_text(text)
    return read_job_file(folder / "job.toml")


def fault(folder: Path, text: str) -> JobFileError:
    """The error of a wrong file; it always names the file, and says what to do."""
    with pytest.raises(JobFileError) as caught:
        read(folder, text)
    assert str(caught.value).startswith("job.toml: ")
    assert caught.value.remedy
    assert caught.value.exit_code == 2
    return caught.value


def test_the_smallest(folder: Path) -> None:
    assert read(folder, ENTRY + ITEMS) == JobFile(
        folder=folder, name="job", items=range(3), entry="search:evaluate", files=("search.py",)
    )


def test_everything(folder: Path) -> None:
    text = """
        name = "digits"
        command = ["sh", "run.sh", "{item}"]
        files = ["*.sh"]
        packages = ["numpy==2.1.0"]
        isolation = "task"
        priority = 70
        tenant = "research"
        expires_seconds = 3600
        [inputs]
        "train.csv" = "data.csv"
        [items]
        list = [1, "two", {three = 3.5}]
        [requirements]
        operating_systems = ["linux"]
        architectures = ["arm64"]
        python = "3.12"
        memory_bytes = "2 GiB"
        disk_bytes = 1
        cpus = 2
        gpus = 1
        gpu_backend = "cuda"
        vram_bytes = 8_000_000_000
        sites = ["lab"]
        owners = ["ann"]
        labels = ["fast"]
        [limits]
        wall_seconds = 60
        memory_bytes = 1_500_000_000
        processes = 8
        output_bytes = "1 MiB"
        output_files = 10
        output_depth = 2
        log_bytes = 1024
        result_bytes = 100
        max_attempts = 1
        [verify]
        mode = "quorum"
        rate = 1
        eps = 1e-3
        min_copies = 3
        target_copies = 3
        max_error = 2
        max_total = 9
        [verify.comparator]
        kind = "float"
        rtol = 1e-3
        atol = 0
        relative_l2 = 0.5
    """
    assert read(folder, text) == JobFile(
        folder=folder,
        name="digits",
        items=[1, "two", {"three": 3.5}],
        command=("sh", "run.sh", "{item}"),
        files=("*.sh",),
        packages=("numpy==2.1.0",),
        inputs={"train.csv": folder / "data.csv"},
        requirements=Requirements(
            operating_systems=("linux",),
            architectures=("arm64",),
            python="3.12",
            memory_bytes=2 << 30,
            disk_bytes=1,
            cpus=2,
            gpus=1,
            gpu_backend="cuda",
            vram_bytes=8_000_000_000,
            sites=("lab",),
            owners=("ann",),
            labels=("fast",),
        ),
        limits=Limits(
            wall_seconds=60.0,
            memory_bytes=1_500_000_000,
            processes=8,
            output_bytes=1 << 20,
            output_files=10,
            output_depth=2,
            log_bytes=1024,
            result_bytes=100,
            max_attempts=1,
        ),
        verify=VerifyPolicy(
            mode=VerifyMode.QUORUM,
            rate=1.0,
            eps=1e-3,
            min_copies=3,
            target_copies=3,
            max_error=2,
            max_total=9,
            comparator=Comparator(kind=ComparatorKind.FLOAT, rtol=1e-3, atol=0.0, relative_l2=0.5),
        ),
        isolation=Isolation.TASK,
        priority=70,
        tenant="research",
        expires_seconds=3600.0,
    )


def test_everything_is_everything() -> None:
    """The test above names each field there is."""
    text = Path(__file__).read_text(encoding="utf-8")
    kinds = (JobFile, Requirements, Limits, VerifyPolicy, Comparator)
    names = {item.name for kind in kinds for item in fields(kind)} - {"folder", "entry", "engine"}
    assert [
        name
        for name in names
        if f"        {name} = " not in text and f".{name}]" not in text and f"[{name}]" not in text
    ] == []


def test_a_word_stands_for_a_table(folder: Path) -> None:
    file = read(folder, f'verify = "quorum"\n{ENTRY}{ITEMS}')
    assert file.verify == VerifyPolicy(mode=VerifyMode.QUORUM)
    file = read(folder, f'{ENTRY}{ITEMS}[verify]\ncomparator = "json"\n')
    assert file.verify == VerifyPolicy(comparator=Comparator(kind=ComparatorKind.JSON))


def test_a_requirements_file(folder: Path) -> None:
    assert read(folder, f'packages = "requirements.txt"\n{ENTRY}{ITEMS}').packages == folder / "requirements.txt"


@pytest.mark.parametrize(
    ("items", "made"),
    [
        ("[items.grid]\na = [1, 2]\nb = ['x', 'y']", [{"a": a, "b": b} for a in (1, 2) for b in "xy"]),
        ("[items]\nlist = [[1], {}, true]", [[1], {}, True]),
        ("[items]\nrange = [2, 9, 3]", [2, 5, 8]),
        ("[items]\nrange = [3, 0, -1]", [3, 2, 1]),
        ("[items]\nlines = 'lines.txt'", ["one", "", "zwei é", "three\x0bstill"]),
        ("[items]\njsonl = 'items.jsonl'", [{"a": 1}, [2, None]]),
    ],
)
def test_items(folder: Path, items: str, made: list[Any]) -> None:
    assert list(read(folder, ENTRY + items).items) == made


def test_a_range_is_not_made_before_it_is_needed(folder: Path) -> None:
    assert read(folder, ENTRY + "[items]\nrange = [10_000_000]").items == range(10_000_000)


@pytest.mark.parametrize(
    "items",
    [
        "range = [10_000_001]",
        "range = [1_000_000_000_000_000_000_000_000]",
        "grid = {" + ", ".join(f"{name} = [1, 2]" for name in "abcdefghijklmnopqrstuvwx") + "}",
    ],
)
def test_too_many_items_are_never_made(folder: Path, items: str) -> None:
    with pytest.raises(LimitError, match=r"the number of items is .* where MAX_TASKS allows 10,000,000"):
        read(folder, f"{ENTRY}[items]\n{items}\n")


def test_too_many_lines(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobfile_items, "MAX_TASKS", 3)
    with pytest.raises(LimitError, match="the number of items is 4 where MAX_TASKS allows 3"):
        read(folder, ENTRY + "[items]\nlines = 'lines.txt'")


# -- wrong files

WRONG_TOP = {
    # text at the top: what is said
    "nmae = 'x'": "there is no field nmae; there are command, entry, ",
    "name = 7": "name is 7; it must be a text",
    "name = ''": "name is ''; it must be printable text of 1 to 200 characters",
    'name = "bell \\u0007"': r"name is 'bell \\x07'; it must be printable text",
    f"name = '{'x' * 201}'": "printable text of 1 to 200 characters",
    "packages = 7": "packages is 7; it must be a list of texts",
    "packages = [7]": r"packages is \[7\]; it must be a list of texts",
    "packages = 'none.txt'": "packages is 'none.txt', and there is no such file",
    "packages = '../requirements.txt'": "packages is '../requirements.txt', which leads out of the job file's folder",
    "isolation = 'machine'": "isolation is 'machine'; it must be one of job, task",
    "isolation = 7": "isolation is 7; it must be one of job, task",
    "priority = 101": "priority is 101; it must be a whole number from 0 to 100",
    "priority = -1": "priority is -1; it must be a whole number from 0 to 100",
    "priority = 1.5": "priority is 1.5; it must be a whole number",
    "priority = true": "priority is True; it must be a whole number",
    "priority = '7'": "priority is '7'; it must be a whole number",
    "tenant = 'a b'": "tenant is 'a b'; it must be 1 to 64 letters, digits",
    "tenant = 7": "tenant is 7; it must be a text",
    "expires_seconds = 'soon'": "expires_seconds is 'soon'; it must be a number",
    "expires_seconds = true": "expires_seconds is True; it must be a number",
    "expires_seconds = inf": "expires_seconds is inf; it must be a number above 0 and up to 31,536,000, a year",
    "expires_seconds = nan": "expires_seconds is nan; it must be a number above 0",
    "expires_seconds = 0": "expires_seconds is 0; it must be a number above 0",
    "inputs = 7": "inputs is 7; it must be a table",
    "inputs.x = 7": "inputs.x is 7; it must be a text",
    "inputs.x = 'none.csv'": "inputs.x is 'none.csv', and there is no such file",
    "inputs.x = '/etc/passwd'": "inputs.x is '/etc/passwd', which leads out of the job file's folder",
    "inputs.'../x' = 'data.csv'": "inputs may not have the file name '../x'",
    "limits = 7": "limits is 7; it must be a table",
    "requirements = 'fast'": "requirements is 'fast'; it must be a table",
    "verify = 7": "verify is 7; it must be a table, or the mode alone",
    "verify = 'maybe'": "verify.mode is 'maybe'; it must be one of none, audit, quorum, tiers, trusted",
    "verify.comparator = 7": "verify.comparator is 7; it must be a table, or the kind alone",
    "verify.comparator = 'exact'": "verify.comparator.kind is 'exact'; it must be one of bytes, json, text, float",
    "verify.comparator.rtl = 1.0": "there is no field verify.comparator.rtl; there are atol, kind, relative_l2, rtol",
    "verify.rates = 1": "there is no field verify.rates; there are comparator, eps, max_error",
    "limits.wall_second = 1": "there is no field limits.wall_second; there are log_bytes, max_attempts",
    "requirements.gpu = 1": "there is no field requirements.gpu; there are architectures, cpus",
    "limits.memory_bytes = '2 apples'": 'a whole number of bytes, or a text such as "2 GiB"',
}


@pytest.mark.parametrize("line", WRONG_TOP)
def test_a_wrong_field_is_named(folder: Path, line: str) -> None:
    told = str(fault(folder, f"{line}\n{ENTRY}{ITEMS}"))
    assert re.search(WRONG_TOP[line], told), told


OUT_OF_RANGE = [
    ("requirements", Requirements, {"cpus": 0, "gpus": -1, "memory_bytes": -1, "disk_bytes": -1, "vram_bytes": -1}),
    ("requirements", Requirements, {"python": '"2.7"', "gpu_backend": '"opengl"', "engine": '"cobol"'}),
    ("requirements", Requirements, {"operating_systems": '["beos"]', "architectures": '["z80"]'}),
    ("requirements", Requirements, {"sites": '[""]', "owners": '["\\u0007"]', "labels": '[""]'}),
    ("limits", Limits, {"wall_seconds": 0, "memory_bytes": 1, "processes": 0, "output_bytes": -1, "output_files": -1}),
    ("limits", Limits, {"output_depth": 65, "log_bytes": -1, "result_bytes": 0, "max_attempts": 0}),
    (
        "verify",
        VerifyPolicy,
        {"rate": 1.5, "eps": 0, "min_copies": 0, "target_copies": 65, "max_error": -1, "max_total": 0},
    ),
    ("verify.comparator", Comparator, {"rtol": -1, "atol": "nan", "relative_l2": "inf"}),
]


@pytest.mark.parametrize(
    ("table", "name", "value"),
    [(table, name, value) for table, _, values in OUT_OF_RANGE for name, value in values.items()],
)
def test_a_number_out_of_range_is_named_with_its_range(folder: Path, table: str, name: str, value: Any) -> None:
    assert f"{table}.{name}" in str(fault(folder, f"{table}.{name} = {value}\n{ENTRY}{ITEMS}"))


def test_every_field_with_a_range_was_tried() -> None:
    tried = {(kind, name) for _, kind, values in OUT_OF_RANGE for name in values}
    there = {(kind, item.name) for _, kind, _ in OUT_OF_RANGE for item in fields(kind)}
    assert there - tried == {(VerifyPolicy, "mode"), (VerifyPolicy, "comparator"), (Comparator, "kind")}


@pytest.mark.parametrize(
    ("table", "kind"),
    [("requirements", Requirements), ("limits", Limits), ("verify", VerifyPolicy), ("verify.comparator", Comparator)],
)
def test_a_value_of_the_wrong_kind_is_named(folder: Path, table: str, kind: type[Any]) -> None:
    """A date is the right kind for no field."""
    for item in fields(kind):
        error = fault(folder, f"{table}.{item.name} = 1979-05-27\n{ENTRY}{ITEMS}")
        assert f"{table}.{item.name} is datetime.date(1979, 5, 27); it must be " in str(error)


def test_fields_that_contradict_each_other(folder: Path) -> None:
    told = str(fault(folder, f'verify.mode = "quorum"\nverify.min_copies = 5\n{ENTRY}{ITEMS}'))
    assert "target_copies is 2; it must be at least min_copies, 5" in told


@pytest.mark.parametrize(
    ("text", "said", "remedy"),
    [
        ("", "neither entry nor command is given", "Give one of entry"),
        (f'command = ["sh"]\n{ENTRY}', "both entry and command are given", "Give one of entry"),
        ('entry = "search"\nfiles = ["search.py"]', "entry is 'search'", '"module:function"'),
        ('entry = ":evaluate"\nfiles = ["search.py"]', "entry is ':evaluate'", '"module:function"'),
        ('entry = "a:b:c"\nfiles = ["search.py"]', "entry is 'a:b:c'", '"module:function"'),
        ('entry = "search:evaluate"', "files is missing", "Name at least the file"),
        ('entry = 7\nfiles = ["search.py"]', "entry is 7; it must be a text", "docs/reference/job-file.md"),
        ('command = "sh run.sh"', "command is 'sh run.sh'; it must be a list of texts", "docs/reference/job-file.md"),
        (
            'entry = "search:evaluate"\nfiles = "search.py"',
            "files is 'search.py'; it must be a list of texts",
            "job-file",
        ),
        ('command = ["echo", "{lr}"]', "command has {lr}, and the items have no such field; there are item", "{{lr}}"),
    ],
)
def test_what_is_missing_or_too_much(folder: Path, text: str, said: str, remedy: str) -> None:
    error = fault(folder, f"{text}\n{ITEMS}")
    assert said in str(error)
    assert remedy in error.remedy


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ("", "items has 0 of grid, list, range, lines, jsonl; it must have exactly one"),
        ("items = 7", "items is 7; it must be a table"),
        ("[items]\nrange = [1]\nlist = [1]", "items has 2 of grid, list, range, lines, jsonl"),
        ("[items]\nrnage = [1]", "there is no field items.rnage; there are grid, jsonl, lines, list, range"),
        ("[items]\nrange = 7", "items.range is 7; it must be [stop], [start, stop]"),
        ("[items]\nrange = []", "items.range is []; it must be [stop]"),
        ("[items]\nrange = [1, 2, 0]", "items.range is [1, 2, 0]; it must be [stop]"),
        ("[items]\nrange = [1, 2, 3, 4]", "items.range is [1, 2, 3, 4]; it must be"),
        ("[items]\nrange = [true]", "items.range is [True]; it must be"),
        ("[items]\nrange = [1.0]", "items.range is [1.0]; it must be"),
        ("[items]\nrange = [0]", "items.range is empty; a job needs at least one task"),
        ("[items]\nlist = []", "items.list is empty; a job needs at least one task"),
        ("[items]\nlist = 'a'", "items.list is 'a'; it must be a list"),
        ("[items]\nlist = [1, 1979-05-27]", "items.list: item 1 cannot travel: "),
        ("[items]\ngrid = {}", "items.grid is empty; a job needs at least one task"),
        ("[items.grid]\na = []", "items.grid is empty; a job needs at least one task"),
        ("[items.grid]\na = 7", "items.grid is {'a': 7}; it must be a table of lists"),
        ("[items]\ngrid = [1]", "items.grid is [1]; it must be a table of lists"),
        ("[items]\nlines = 'none.txt'", "items.lines is 'none.txt', and there is no such file"),
        ("[items]\nlines = '../lines.txt'", "items.lines is '../lines.txt', which leads out of the job file's folder"),
        ("[items]\nlines = 7", "items.lines is 7; it must be a text"),
        ("[items]\nlines = 'latin.txt'", "items.lines: latin.txt cannot be read: 'utf-8' codec"),
        ("[items]\nlines = 'empty.txt'", "items.lines is empty"),
        ("[items]\njsonl = 'lines.txt'", "items.jsonl: line 1 of lines.txt is not JSON: "),
    ],
)
def test_wrong_items(folder: Path, items: str, said: str) -> None:
    (folder / "latin.txt").write_bytes(b"caf\xe9\n")
    (folder / "empty.txt").touch()
    assert said in str(fault(folder, f"{items}\n{ENTRY}" if items.startswith("items") else ENTRY + items))


def test_the_nearest_name_is_offered(folder: Path) -> None:
    assert fault(folder, f"limits.wall_second = 1\n{ENTRY}{ITEMS}").remedy == "Did you mean limits.wall_seconds?"


def test_files_that_are_none(folder: Path) -> None:
    with pytest.raises(JobFileError, match=r"cannot read .*none\.toml: No such file"):
        read_job_file(folder / "none.toml")
    with pytest.raises(JobFileError, match=r"cannot read .*: Is a directory"):
        read_job_file(folder)
    for content in (b"name = \xff", b"name ="):
        (folder / "job.toml").write_bytes(content)
        with pytest.raises(JobFileError, match="is not TOML"):
            read_job_file(folder / "job.toml")


def test_what_the_configuration_fills_in(folder: Path) -> None:
    config = ClientConfig(tenant="research", job_days=2.0)
    request = read(folder, ENTRY + ITEMS).request(config)
    assert (request.tenant, request.expires_seconds) == ("research", 2 * 86_400.0)
    request = read(folder, f'tenant = "lab"\nexpires_seconds = 60\n{ENTRY}{ITEMS}').request(config)
    assert (request.tenant, request.expires_seconds) == ("lab", 60.0)
    assert isinstance(request, Request)


def test_an_input_that_went_away_is_told(folder: Path) -> None:
    file = read(folder, f"inputs.x = 'data.csv'\n{ENTRY}{ITEMS}")
    (folder / "data.csv").unlink()
    with pytest.raises(UsageError, match=r"inputs: x is '.*data\.csv', which cannot be read: No such file"):
        file.request(ClientConfig())


@given(st.text(alphabet="{}ab_1 ", max_size=12))
def test_placeholders_are_what_the_command_engine_fills(argument: str) -> None:
    """What is accepted here is what a runner accepts, and the other way round."""
    names = {name for name in jobfile._PLACEHOLDER.findall(argument) if name}
    filled = command_engine._PLACEHOLDER.findall(argument)
    assert names == {name for name in filled if name}
    assert jobfile._PLACEHOLDER.pattern == command_engine._PLACEHOLDER.pattern


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.dictionaries(st.text(), inner))
)
def test_whatever_stands_in_a_table_is_read_or_refused(value: Any) -> None:
    table = Table({"x": value}, folder=Path("/"))
    for read_field, kind in ((table.text, str), (table.texts, list), (table.table, dict)):
        if isinstance(value, kind):
            assert read_field("x") is not None
        else:
            with pytest.raises(JobFileError, match=r"^x is .*; it must be "):
                read_field("x")


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*/job.toml")), ids=lambda path: path.parent.name)
def test_the_examples_are_right(path: Path) -> None:
    assert read_job_file(path).items
    assert "[items" in path.read_text(encoding="utf-8")
    assert tomllib.loads(path.read_text(encoding="utf-8"))
