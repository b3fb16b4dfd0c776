"""What a bundle asks of a device, and what cannot be asked."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest

from corpgrid.domain.job import Requirements
from corpgrid.errors import BundleError, JobFileError, UsageError
from corpgrid.host.detect import architecture, operating_system
from corpgrid.sdk.jobfile import read_job_file
from corpgrid.sdk.packaging import FUNCTION_FILE, Package, bind, pack_function, pack_job_file
from corpgrid.sdk.packing import python_minor
from corpgrid.trust.bundle import CommandEntry, FunctionEntry, ModuleEntry, VerifiedBundle, verify_bundle
from corpgrid.trust.keys import Keyring, PrivateKey
from tests.unit.sdk.wheel_maker import make_wheel

KEY = PrivateKey.generate()
FUNCTION, MODULE, COMMAND = FunctionEntry("function.pkl"), ModuleEntry("search", "f"), CommandEntry(("sh",))
PURE, BOUND = Path("pure-1.0-py3-none-any.whl"), Path("fast-1.0-cp311-cp311-linux_x86_64.whl")


def opened(package: Package) -> VerifiedBundle:
    """A package's bundle, as a device verifies it."""
    return verify_bundle(package.content, expected=package.digest, keyring=Keyring([KEY.public]))


def job(folder: Path, text: str) -> Package:
    """The package of a job file with this text."""
    file = folder / "job.toml"
    file.write_text(text + "\n[items]\nrange = [1]\n")
    return pack_job_file(read_job_file(file), cache=folder / "cache", key=KEY)


@pytest.mark.parametrize(
    ("entry", "wheels", "engine", "python"),
    [
        (FUNCTION, [], "python", python_minor()),
        (FUNCTION, [PURE], "python", python_minor()),
        (MODULE, [], "python", ""),
        (MODULE, [PURE], "python", python_minor()),
        (COMMAND, [], "command", ""),
        (COMMAND, [PURE], "command", python_minor()),
    ],
)
def test_what_the_code_itself_needs(
    entry: FunctionEntry | ModuleEntry | CommandEntry, wheels: list[Path], engine: str, python: str
) -> None:
    assert bind(Requirements(sites=("lab",)), entry, wheels) == Requirements(
        engine=engine, python=python, sites=("lab",)
    )


def test_a_wheel_for_one_platform_asks_for_that_platform() -> None:
    here = (operating_system(platform.system()),), (architecture(platform.machine()),)
    bound = bind(Requirements(operating_systems=("windows", *here[0])), MODULE, [PURE, BOUND])
    assert (bound.operating_systems, bound.architectures) == here


@pytest.mark.parametrize(
    ("asked", "entry", "field", "said"),
    [
        (Requirements(python="3.9"), FUNCTION, "python", "requirements.python is 3.9, and .* needs 3"),
        (Requirements(engine="command"), FUNCTION, "engine", "requirements.engine is command, and .* needs python"),
        (Requirements(engine="wasm"), COMMAND, "engine", "requirements.engine is wasm, and .* needs command"),
        (Requirements(operating_systems=("vms",)), MODULE, "operating_systems", "is vms, and fast-1.0.* needs"),
        (Requirements(architectures=("m68k", "vax")), MODULE, "architectures", "is m68k or vax, and fast-1.0.* needs"),
    ],
)
def test_what_no_device_could_have_is_refused(
    asked: Requirements, entry: FunctionEntry | ModuleEntry | CommandEntry, field: str, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as caught:
        bind(asked, entry, [BOUND])
    assert caught.value.remedy == f"Leave out requirements.{field}."


def test_the_bundle_of_a_function(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "greeting", {"greeting.py": ""})
    package = pack_function(b"pickled", wheels=[wheel], requirements=Requirements(), key=KEY)
    bundle = opened(package)
    assert bundle.files[FUNCTION_FILE].content == b"pickled"
    assert (bundle.manifest.engine, bundle.manifest.python) == ("python", python_minor())
    assert [each.name for each in bundle.manifest.environment] == [wheel.name]
    assert list(package.wheels.values()) == [wheel]
    assert package.modules == {"greeting"}


def test_gpus_are_asked_for_in_the_bundle_too() -> None:
    package = pack_function(b"pickled", wheels=[], requirements=Requirements(gpu_backend="cuda"), key=KEY)
    assert opened(package).manifest.gpus == 1


def test_the_bundle_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "search.py").write_text("def evaluate(x): return x\n")
    (tmp_path / "run.sh").write_text("echo\n")
    (tmp_path / "run.sh").chmod(0o755)
    bundle = opened(job(tmp_path, 'entry = "search:evaluate"\nfiles = ["*.py", "run.sh"]'))
    assert bundle.manifest.entry == ModuleEntry("search", "evaluate")
    assert {name: file.executable for name, file in bundle.files.items()} == {"run.sh": True, "search.py": False}
    assert bundle.manifest.python == ""


def test_an_entry_may_be_in_a_package(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "greeting", {"greeting/__init__.py": "", "greeting/words.py": "def hello(x): ...\n"})
    (tmp_path / "data.txt").touch()
    fields = f'files = ["data.txt"]\npackages = ["./{wheel.name}"]'
    assert job(tmp_path, f'entry = "greeting.words:hello"\n{fields}').modules == {"greeting"}
    with pytest.raises(JobFileError, match=r"there is no parting\.py among the files"):
        job(tmp_path, f'entry = "parting:bye"\n{fields}')


def test_files_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"files: 'search.py' matches nothing"):
        job(tmp_path, 'entry = "search:evaluate"\nfiles = ["search.py"]')
