"""Reads all settings from their sources, and prints them with where they came from."""

from __future__ import annotations

import difflib
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, get_type_hints

from corpgrid.config import values
from corpgrid.config.fields import Folders, fill, folders_of, is_root
from corpgrid.config.sections import (
    AgentConfig,
    ClientConfig,
    Config,
    GridConfig,
    LimitsConfig,
    SchedulerConfig,
)
from corpgrid.errors import ConfigError, UsageError

_SECTIONS: Mapping[str, type[Any]] = MappingProxyType(
    {
        "scheduler": SchedulerConfig,
        "agent": AgentConfig,
        "client": ClientConfig,
        "grid": GridConfig,
        "limits": LimitsConfig,
    }
)
_PREFIX = "CORPGRID_"
_FILE_VARIABLE = "CORPGRID_CONFIG"
# Kubernetes sets these in every container beside a service that is called corpgrid-something; they are not for us.
_KUBERNETES = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_\w+)?)")
_PASSWORD = re.compile(r"(?<=:)[^:/@]+(?=@)|(?<=password=)[^&]+")


class Setting(NamedTuple):
    """One line for ``corpgrid doctor``; passwords in ``value`` are masked."""

    name: str
    value: str
    source: str
    doc: str


class _Said(NamedTuple):
    """What a source says of the setting ``name``; ``spelling`` is how that source writes the name."""

    name: str
    spelling: str
    value: object
    source: str
    base: Path = Path()


class _Known(NamedTuple):
    """A setting that exists."""

    field: Field[Any]
    kind: values.Kind


def load_config(
    *,
    environ: Mapping[str, str],
    path: Path | None = None,
    overrides: Mapping[str, object] = MappingProxyType({}),
    platform: str = sys.platform,
    root: bool | None = None,
) -> Config:
    """Read all settings.

    Args:
        environ: the environment.
        path: the TOML file; None looks for one.
        overrides: what the command line says, such as ``{"agent.site": "lab"}``; a value of None says nothing.
        platform: as ``sys.platform``.
        root: whether files belong to the machine instead of the user; None asks the system.

    Raises:
        ConfigError: a setting is unknown, of the wrong type or out of range, or the file cannot be read.
    """
    folders = folders_of(environ, platform=platform, root=is_root() if root is None else root)
    said: dict[str, _Said] = {}
    for one in (*_in_file(environ, folders, path), *_in_environment(environ), *_in_overrides(overrides)):
        if one.name not in _known():
            raise _unknown(one)
        said[one.name] = one
    sections = {
        section: kind(**{item.name: _value(f"{section}.{item.name}", said, folders) for item in fields(kind)})
        for section, kind in _SECTIONS.items()
    }
    sources = {name: said[name].source if name in said else "default" for name in _known()}
    config = Config(**sections, sources=MappingProxyType(sources))
    _check_together(config)
    return config


def describe(config: Config) -> list[Setting]:
    """Every setting: its value as it could be written down, where that came from, and what it is for."""
    rows = []
    for name, known in _known().items():
        value = getattr(getattr(config, name.partition(".")[0]), known.field.name)
        text = _PASSWORD.sub("***", values.text(value, known.kind, is_bytes=name.endswith("_bytes")))
        rows.append(Setting(name, text, config.sources.get(name, "default"), known.field.metadata["doc"]))
    return rows


def variable_of(name: str) -> str:
    """The environment variable that sets ``agent.hours``."""
    return _PREFIX + name.replace(".", "_").upper()


@cache
def _known() -> Mapping[str, _Known]:
    """Every setting by its name, such as ``agent.hours``, in the order in which they are declared."""
    known = {}
    for section, of_section in _SECTIONS.items():
        types = get_type_hints(of_section)
        for item in fields(of_section):
            accepts = {key: value for key, value in item.metadata.items() if key in {"low", "high", "choices"}}
            known[f"{section}.{item.name}"] = _Known(item, values.Kind(type=types[item.name], **accepts))
    return MappingProxyType(known)


def _value(name: str, said: Mapping[str, _Said], folders: Folders) -> object:
    """The checked value of one setting; its default where no source says anything."""
    known = _known()[name]
    template: str = known.field.metadata.get("template", "")
    if name not in said:
        return values.parse(fill(template, folders), known.kind) if template else known.field.default
    one = said[name]
    try:
        return values.parse(one.value, known.kind, home=folders.home, base=one.base)
    except ValueError as error:
        raise ConfigError(f"{one.spelling} is {one.value!r} ({one.source}) and must be {error}") from None


def _in_file(environ: Mapping[str, str], folders: Folders, path: Path | None) -> Iterator[_Said]:
    named = path or environ.get(_FILE_VARIABLE)
    file = Path(named) if named else folders.config / "config.toml"
    try:
        document = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if named:
            raise ConfigError(f"there is no configuration file {file}", remedy="Name a file that exists.") from None
        return
    except OSError as error:
        raise ConfigError(f"the configuration file {file} cannot be read: {error.strerror}") from error
    except ValueError as error:  # it is not UTF-8, or not TOML
        raise ConfigError(f"the configuration file {file} is not TOML: {error}") from error
    for section, table in document.items():
        for item, value in table.items() if isinstance(table, dict) else [("", table)]:
            name = f"{section}.{item}" if item else section
            yield _Said(name, name, value, str(file), file.absolute().parent)


def _in_environment(environ: Mapping[str, str]) -> Iterator[_Said]:
    for variable, value in environ.items():
        if variable.startswith(_PREFIX) and variable != _FILE_VARIABLE and not _KUBERNETES.fullmatch(variable):
            section, _, item = variable.removeprefix(_PREFIX).lower().partition("_")
            yield _Said(f"{section}.{item}", variable, value, "environment")


def _in_overrides(overrides: Mapping[str, object]) -> Iterator[_Said]:
    for name, value in overrides.items():
        if value is not None:
            yield _Said(name, name, value, "command line")


def _unknown(one: _Said) -> ConfigError:
    from_environment = one.spelling.startswith(_PREFIX)
    names = [variable_of(name) if from_environment else name for name in _known()]
    nearest = difflib.get_close_matches(one.spelling, names, n=1, cutoff=0.7)
    remedy = f"Did you mean {nearest[0]}?" if nearest else "`corpgrid doctor --settings` prints every setting."
    return ConfigError(f"there is no setting {one.spelling} ({one.source})", remedy=remedy)


def _check_together(config: Config) -> None:
    """What no setting can say alone."""
    scheduler, limits = config.scheduler, config.limits
    _require_order("limits.inline_bytes", limits.inline_bytes, "limits.batch_bytes", limits.batch_bytes)
    _require_order("limits.batch_bytes", limits.batch_bytes, "limits.message_bytes", limits.message_bytes)
    beats = 2 * scheduler.heartbeat_seconds
    _require_order(
        "twice scheduler.heartbeat_seconds", beats, "scheduler.lease_ttl_seconds", scheduler.lease_ttl_seconds
    )
    try:
        config.agent.policy()
    except UsageError as error:
        source = config.sources["agent.hours"]
        raise ConfigError(f"agent.hours is {config.agent.hours!r} ({source}): {error}", remedy=error.remedy) from error


def _require_order(small: str, low: float, large: str, high: float) -> None:
    if low > high:
        raise ConfigError(f"{small} is {low:,}, which is more than {large}, {high:,}")
