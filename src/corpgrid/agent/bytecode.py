"""Bytecode for the packages of a job, made inside a sandbox: importing large packages is several times faster with it.

The source is a stranger's, and compilers have been broken by source before; so the agent does not read it.  What fails
to compile stays without bytecode, and nothing depends on it.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from corpgrid.agent.runner_spec import ENVIRONMENT
from corpgrid.ports.sandbox import Sandbox, SandboxLimits, SandboxProcess, SandboxSpec

Precompile = Callable[[Path, Path], Awaitable[None]]
"""Given a folder of packages and an empty folder: fill the second with the bytecode of the first, below ``env``."""

COMPILE_SECONDS = 300.0
_LIMITS = SandboxLimits(memory_bytes=2 << 30, processes=16, work_bytes=8 << 30, work_files=200_000)
_COMPILE = ("-X", "pycache_prefix=/work", "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash", "/env")


def precompiler(sandbox: Sandbox, python: str, *, also: Mapping[Path, str] | None = None) -> Precompile:
    """What ``Environments`` takes.

    Args:
        sandbox: where to compile.
        python: the runners' interpreter, as seen inside.
        also: folders that it needs, to the path at which each is seen.
    """

    async def precompile(packages: Path, bytecode: Path) -> None:
        spec = SandboxSpec(
            argv=(python, "-s", "-P", "-S", *_COMPILE),
            work=bytecode,
            limits=_LIMITS,
            env=ENVIRONMENT,
            read_only={**(also or {}), packages: "/env"},
        )
        process = await sandbox.start(spec)
        try:
            async with asyncio.timeout(COMPILE_SECONDS):
                await asyncio.gather(_drain(process), _drain_log(process))
        except TimeoutError:
            process.kill()
        await process.wait()

    return precompile


def place_bytecode(made: Path, packages: Path) -> None:
    """Move bytecode to where imports look for it: ``made/env/a/b.cpython-311.pyc`` to ``packages/a/__pycache__``.

    What was made is a stranger's work: only regular files beside whose place their source lies are taken.
    """
    root = made / "env"
    for here, _, files in os.walk(root):
        source_folder = packages / Path(here).relative_to(root)
        for name in files:
            file = Path(here, name)
            source = source_folder / f"{name.split('.', maxsplit=1)[0]}.py"
            if file.suffix == ".pyc" and stat.S_ISREG(file.lstat().st_mode) and source.is_file():
                target = source_folder / "__pycache__"
                target.mkdir(exist_ok=True)
                os.chown(file, os.geteuid(), os.getegid(), follow_symlinks=False)
                file.rename(target / name)


async def _drain(process: SandboxProcess) -> None:
    while await process.read():
        pass


async def _drain_log(process: SandboxProcess) -> None:
    while await process.read_log():
        pass
