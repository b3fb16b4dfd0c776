"""Files that devices name, and that must go nowhere but into the folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from corpgrid.domain.ids import Digest
from corpgrid.domain.messages import OutputFile
from corpgrid.errors import CorpGridError, TrustError, UsageError
from corpgrid.sdk.outputs import save_outputs


def outputs(*names: str) -> list[OutputFile]:
    return [OutputFile(name, Digest(b"d" * 32), 4) for name in names]


def fetch(output: OutputFile, target: Path) -> None:
    target.write_text(output.name)


def below(folder: Path) -> set[str]:
    """Everything that is in a folder."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def test_files_and_folders(tmp_path: Path) -> None:
    saved = save_outputs(outputs("plain.txt", "deep/er/file"), tmp_path / "new", fetch)
    assert saved == [tmp_path / "new" / "plain.txt", tmp_path / "new" / "deep" / "er" / "file"]
    assert [path.read_text() for path in saved] == ["plain.txt", "deep/er/file"]


def test_what_stood_there_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "plain.txt").write_text("old")
    save_outputs(outputs("plain.txt"), tmp_path, fetch)
    assert (tmp_path / "plain.txt").read_text() == "plain.txt"


@pytest.mark.parametrize(
    "names",
    [
        ("../outside",),
        ("/etc/passwd",),
        ("a/../../outside",),
        ("..",),
        ("",),
        ("a//b",),
        ("a\\..\\b",),
        ("C:\\autoexec.bat",),
        ("bell\x07",),
        ("nul",),
        ("good", "../outside"),
        ("same", "SAME"),
        ("twice", "twice"),
        ("both", "both/file"),
    ],
)
def test_a_name_that_leads_out_or_is_none_writes_nothing(tmp_path: Path, names: tuple[str, ...]) -> None:
    with pytest.raises(TrustError, match="the task's outputs cannot be saved"):
        save_outputs(outputs(*names), tmp_path / "inside", fetch)
    assert below(tmp_path) == set()


@pytest.mark.parametrize("link", ["deep", "deep/er"])
def test_nothing_is_written_through_a_link(tmp_path: Path, link: str) -> None:
    (tmp_path / "outside").mkdir()
    inside = tmp_path / "inside"
    (inside / link).parent.mkdir(parents=True)
    (inside / link).symlink_to(tmp_path / "outside", target_is_directory=True)
    with pytest.raises(UsageError, match="is a link, and outputs are not written through links"):
        save_outputs(outputs("first", "deep/er/file"), inside, fetch)
    assert below(tmp_path / "outside") == set()
    assert not (inside / "first").exists()


def test_a_file_where_a_folder_must_be(tmp_path: Path) -> None:
    (tmp_path / "deep").write_text("a file")
    with pytest.raises(UsageError, match="the outputs cannot be written to"):
        save_outputs(outputs("deep/file"), tmp_path, fetch)


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    def full(_: OutputFile, target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    with pytest.raises(UsageError, match=r"cannot be written to .*: No space left on device") as caught:
        save_outputs(outputs("file"), tmp_path, full)
    assert "room" in caught.value.remedy


def test_an_error_of_the_grid_stays_what_it_is(tmp_path: Path) -> None:
    def lost(_: OutputFile, target: Path) -> None:
        raise TrustError(f"not the bytes of {target.name}")

    with pytest.raises(CorpGridError, match="not the bytes of file"):
        save_outputs(outputs("file"), tmp_path, lost)
