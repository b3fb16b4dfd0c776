"""Settings: where they come from, who wins, and what is refused."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corpgrid.config import AgentConfig, ClientConfig, Config, GridConfig, describe, load_config, variable_of
from corpgrid.config.fields import folders_of
from corpgrid.config.values import Kind, parse, text
from corpgrid.domain.availability import OwnerPolicy
from corpgrid.domain.messages import AgentSettings
from corpgrid.errors import ConfigError

HOME = {"HOME": "/home/ada", "USER": "ada"}


def load(environ: dict[str, str] | None = None, **given_: object) -> Config:
    """Settings of an ordinary Linux user."""
    return load_config(environ=HOME | (environ or {}), platform="linux", root=False, **given_)  # type: ignore[arg-type]


def written(folder: Path, content: str) -> Path:
    path = folder / "grid.toml"
    path.write_text(content)
    return path


def refused(environ: dict[str, str] | None = None, **given_: object) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        load(environ, **given_)
    assert caught.value.remedy
    return caught.value


def test_without_any_source_everything_has_its_default() -> None:
    config = load()
    assert set(config.sources.values()) == {"default"}
    assert config.agent.policy() == OwnerPolicy()
    assert config.scheduler.agent_settings(config.limits) == AgentSettings()
    assert config.agent.address == config.client.address == config.scheduler.listen
    assert config.agent.owner == "ada"


def test_the_command_line_beats_the_environment_beats_the_file_beats_the_default(tmp_path: Path) -> None:
    path = written(tmp_path, '[agent]\nsite = "file"\nname = "file"\nowner = "file"\n')
    environ = {"CORPGRID_AGENT_SITE": "environment", "CORPGRID_AGENT_NAME": "environment"}
    config = load(environ, path=path, overrides={"agent.site": "command line", "agent.labels": None})
    assert (config.agent.site, config.agent.name, config.agent.owner) == ("command line", "environment", "file")
    names = ("agent.site", "agent.name", "agent.owner", "agent.labels")
    assert [config.sources[name] for name in names] == ["command line", "environment", str(path), "default"]


def test_every_setting_can_be_written_down_and_read_back() -> None:
    config = load()
    environ = {variable_of(row.name): row.value for row in describe(config)}
    again = load(environ)
    assert set(again.sources.values()) == {"environment"}
    assert dataclasses.replace(again, sources={}) == dataclasses.replace(config, sources={})


def test_every_setting_is_documented_in_one_line_and_can_be_changed() -> None:
    rows = describe(load())
    assert len({row.name for row in rows}) == len(rows) == len(load().sources)
    for row in rows:
        assert 5 < len(row.doc) < 100, row.name
        assert re.fullmatch(r"[a-z]+\.[a-z_]+", row.name)


def test_the_file_is_found_in_the_configuration_folder_or_named_by_a_variable(tmp_path: Path) -> None:
    (tmp_path / "corpgrid").mkdir()
    (tmp_path / "corpgrid" / "config.toml").write_text('[agent]\nsite = "found"\n')
    assert load({"XDG_CONFIG_HOME": str(tmp_path)}).agent.site == "found"
    named = written(tmp_path, '[agent]\nsite = "named"\n')
    assert load({"XDG_CONFIG_HOME": str(tmp_path), "CORPGRID_CONFIG": str(named)}).agent.site == "named"


def test_tomls_own_types_are_taken_as_they_are(tmp_path: Path) -> None:
    content = """
    [agent]
    allow_network = true
    idle_seconds = 60
    cpus = 3
    memory_bytes = "3 GiB"
    labels = ["lab", "fast"]
    hours = "22:00-06:00"
    power_root = ""
    [limits]
    job_tasks = 1_000
    """
    config = load(path=written(tmp_path, content))
    assert config.agent.allow_network is True
    assert config.agent.idle_seconds == 60.0
    assert type(config.agent.idle_seconds) is float
    assert (config.agent.cpus, config.agent.memory_bytes) == (3, 3 << 30)
    assert config.agent.labels == ("lab", "fast")
    assert config.agent.policy().hours.text() == "22:00-06:00"
    assert config.agent.power_root is None
    assert config.limits.job_tasks == 1_000


def test_paths_are_relative_to_the_file_and_know_the_home(tmp_path: Path) -> None:
    path = written(tmp_path, '[agent]\nfolder = "state"\ntrusted_keys = "~/keys"\npresence_file = "/run/idle"\n')
    agent = load(path=path).agent
    assert agent.folder == tmp_path / "state"
    assert agent.trusted_keys == Path("/home/ada/keys")
    assert agent.presence_file == Path("/run/idle")
    assert load({"CORPGRID_AGENT_FOLDER": "here"}).agent.folder == Path("here")


@pytest.mark.parametrize(
    ("variable", "value", "needle"),
    [
        ("CORPGRID_AGENT_IDLE_SECONDS", "-1", "from 0 to 1,000,000"),
        ("CORPGRID_AGENT_IDLE_SECONDS", "soon", "a number"),
        ("CORPGRID_AGENT_IDLE_SECONDS", "nan", "a number"),
        ("CORPGRID_AGENT_IDLE_SECONDS", "inf", "a number"),
        ("CORPGRID_AGENT_CPUS", "1.5", "a whole number"),
        ("CORPGRID_AGENT_CPUS", "", "a whole number"),
        ("CORPGRID_AGENT_CACHE_BYTES", "10 GB", "a whole number"),
        ("CORPGRID_AGENT_CACHE_BYTES", "-1", "at least 0"),
        ("CORPGRID_AGENT_ALLOW_NETWORK", "maybe", "true or false"),
        ("CORPGRID_AGENT_SANDBOX", "none", "one of auto, bubblewrap"),
        ("CORPGRID_AGENT_THERMAL_HEADROOM_MIN", "1.5", "from 0 to 1"),
        ("CORPGRID_AGENT_FOLDER", "", "a path"),
        ("CORPGRID_AGENT_HOURS", "mon-tag", "'tag' is not a day"),
        ("CORPGRID_LIMITS_JOB_TASKS", "0", "at least 1"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name_its_source_and_what_it_must_be(
    variable: str, value: str, needle: str
) -> None:
    error = str(refused({variable: value}))
    assert variable in error or variable.removeprefix("CORPGRID_").lower().replace("_", ".", 1) in error
    assert "environment" in error
    assert needle in error


@pytest.mark.parametrize(
    "content",
    [
        "[agent]\nidle_seconds = '60 s'",
        "[agent]\nidle_seconds = true",
        "[agent]\ncpus = 1.0",
        "[agent]\ncpus = true",
        "[agent]\nname = 7",
        "[agent]\nlabels = [1]",
        "[agent]\nallow_network = 1",
        "[agent]\nfolder = 1",
        "[agent]\nhours = 1979-05-27",
    ],
)
def test_a_wrong_type_in_the_file_is_refused_with_the_files_name(tmp_path: Path, content: str) -> None:
    path = written(tmp_path, content)
    error = str(refused(path=path))
    assert str(path) in error
    assert "agent." in error


@pytest.mark.parametrize(
    ("environ", "content", "overrides", "nearest"),
    [
        ({"CORPGRID_AGENT_IDEL_SECONDS": "1"}, "", {}, "CORPGRID_AGENT_IDLE_SECONDS"),
        ({}, "[agent]\nidle_second = 1", {}, "agent.idle_seconds"),
        ({}, "[agnet]\nhours = 'never'", {}, "agent.hours"),
        ({}, "", {"agent.ownr": "x"}, "agent.owner"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_that_exists(
    tmp_path: Path, environ: dict[str, str], content: str, overrides: dict[str, object], nearest: str
) -> None:
    error = refused(environ, path=written(tmp_path, content), overrides=overrides)
    assert error.remedy == f"Did you mean {nearest}?"


@pytest.mark.parametrize("content", ["hours = 'never'", "[agent.hours]\nmon = 1", "[nothing_like_it]\nx = 1"])
def test_nothing_in_the_file_is_ignored(tmp_path: Path, content: str) -> None:
    refused(path=written(tmp_path, content))


def test_a_variable_that_is_like_nothing_is_refused_too() -> None:
    assert "CORPGRID_ZZZ" in str(refused({"CORPGRID_ZZZ": "1"}))


def test_what_kubernetes_sets_beside_a_service_of_our_name_is_not_for_us() -> None:
    environ = {
        "CORPGRID_SCHEDULER_SERVICE_HOST": "10.0.0.1",
        "CORPGRID_SCHEDULER_SERVICE_PORT_GRPC": "7421",
        "CORPGRID_SCHEDULER_PORT": "tcp://10.0.0.1:7421",
        "CORPGRID_SCHEDULER_PORT_7421_TCP_ADDR": "10.0.0.1",
    }
    assert load(environ) == load()


@pytest.mark.parametrize(
    ("environ", "names"),
    [
        ({"CORPGRID_LIMITS_INLINE_BYTES": "16 MiB"}, ("limits.inline_bytes", "limits.batch_bytes")),
        ({"CORPGRID_LIMITS_BATCH_BYTES": "1 GiB"}, ("limits.batch_bytes", "limits.message_bytes")),
        ({"CORPGRID_SCHEDULER_LEASE_TTL_SECONDS": "9"}, ("heartbeat_seconds", "lease_ttl_seconds")),
    ],
)
def test_settings_that_contradict_each_other_are_refused_together(
    environ: dict[str, str], names: tuple[str, str]
) -> None:
    error = str(refused(environ))
    assert all(name in error for name in names)


def test_a_file_that_is_named_must_exist_and_be_toml(tmp_path: Path) -> None:
    assert "no configuration file" in str(refused(path=tmp_path / "absent.toml"))
    assert "cannot be read" in str(refused(path=tmp_path))
    assert "not TOML" in str(refused(path=written(tmp_path, "agent = [")))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    assert "not TOML" in str(refused(path=tmp_path / "binary.toml"))


@pytest.mark.parametrize(
    "url", ["postgresql://grid:s3cret@db/grid", "postgresql://db/grid?user=grid&password=s3cret&sslmode=require"]
)
def test_passwords_are_not_printed(url: str) -> None:
    config = load({"CORPGRID_SCHEDULER_STORE": url})
    assert config.scheduler.store == url
    (row,) = [row for row in describe(config) if row.name == "scheduler.store"]
    assert "s3cret" not in row.value
    assert "***" in row.value
    assert "db/grid" in row.value


@pytest.mark.parametrize(
    ("platform", "root", "environ", "data", "config"),
    [
        ("linux", False, HOME, "/home/ada/.local/share/corpgrid", "/home/ada/.config/corpgrid"),
        ("linux", True, {"HOME": "/root"}, "/var/lib/corpgrid", "/etc/corpgrid"),
        ("linux", True, {}, "/var/lib/corpgrid", "/etc/corpgrid"),
        ("linux", False, HOME | {"XDG_DATA_HOME": "/d", "XDG_CONFIG_HOME": "/c"}, "/d/corpgrid", "/c/corpgrid"),
        ("darwin", False, HOME, *["/home/ada/Library/Application Support/corpgrid"] * 2),
        ("darwin", True, HOME, *["/Library/Application Support/corpgrid"] * 2),
        ("win32", False, {"LOCALAPPDATA": "/Users/ada/AppData/Local"}, *["/Users/ada/AppData/Local/corpgrid"] * 2),
        ("win32", True, {"PROGRAMDATA": "/ProgramData"}, *["/ProgramData/corpgrid"] * 2),
        ("win32", False, {"USERPROFILE": "/Users/ada"}, *["/Users/ada/AppData/Local/corpgrid"] * 2),
    ],
)
def test_files_belong_where_each_platform_keeps_them(
    platform: str,
    root: bool,  # noqa: FBT001 - a parameter of the table
    environ: dict[str, str],
    data: str,
    config: str,
) -> None:
    folders = folders_of(environ, platform=platform, root=root)
    assert (folders.data, folders.config) == (Path(data), Path(config))
    loaded = load_config(environ=environ, platform=platform, root=root)
    assert loaded.agent.folder == Path(data) / "agent"
    assert loaded.client.key_file == Path(config) / "submitter.pem"


def test_a_daemon_of_the_machine_belongs_to_the_machine_not_to_root() -> None:
    folders = folders_of({"HOME": "/root", "USER": "root"}, platform="linux", root=True)
    assert folders.user not in {"", "root"}


def test_a_section_can_be_made_by_hand(tmp_path: Path) -> None:
    assert AgentConfig(folder=tmp_path).folder == tmp_path
    assert ClientConfig().key_file.name == "submitter.pem"
    assert GridConfig(idle_seconds=5.0).idle_seconds == 5.0


@given(st.integers(0, 1 << 50))
def test_sizes_lose_nothing(size: int) -> None:
    kind = Kind(type=int)
    assert parse(text(size, kind, is_bytes=True), kind) == size


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_lose_nothing(number: float) -> None:
    kind = Kind(type=float)
    assert parse(text(number, kind), kind) == number


@given(st.lists(st.text(st.characters(exclude_characters=",", exclude_categories=["C", "Z"]), min_size=1)))
def test_lists_lose_nothing(words: list[str]) -> None:
    kind = Kind(type=tuple[str, ...])
    assert parse(text(tuple(words), kind), kind) == tuple(words)


SAID = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.binary(), st.lists(st.text()))
KINDS = st.sampled_from([bool, int, float, str, Path, Path | None, tuple[str, ...]])


@given(SAID, KINDS)
def test_whatever_is_said_is_read_in_the_right_type_or_refused(said: object, kind: type) -> None:
    try:
        value = parse(said, Kind(type=kind))
    except ValueError as error:
        reason = str(error)
    else:
        assert isinstance(value, tuple if kind == tuple[str, ...] else kind)
        assert isinstance(value, bool) == (kind is bool)
        reason = "none"
    assert reason in {"a number", "a whole number", "a list of words", "a path", "text", "true or false", "none"}
