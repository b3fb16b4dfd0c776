"""Which system calls a sandboxed job may make.

The filter allows everything that is not named here, and these rules shape the list:

* what reaches into the kernel, other processes or the mount tree fails with EPERM;
* what programs probe for and have an older way round (``clone3``, ``io_uring``, the new mount calls) fails with ENOSYS,
  so that they take that way;
* a call newer than this list was (``NEWEST_CALL``) fails with ENOSYS: a kernel of tomorrow opens no door by itself;
* another architecture's calls (``int 0x80``) end the process, x32 calls fail;
* sockets are ``AF_UNIX`` without a network grant, and ``AF_INET`` and ``AF_INET6`` with one.  With a grant ``AF_UNIX``
  is left only in pairs: abstract sockets live in the network namespace, and the host's would be in reach;
* where no cgroup accounts for memory, files that live in memory alone and in no mount cannot be made.

    filter_program(network=False, memory_accounted=True)    # the bytes that bubblewrap's --seccomp reads
"""

from __future__ import annotations

import errno
import functools
import os
import struct
from typing import Any

from corpgrid.errors import SandboxError

NEWEST_CALL = 462
"""The last system call that was weighed for this list (``mseal``); above 423 all architectures share the numbers."""

REFUSED = (
    *("add_key", "keyctl", "request_key"),  # key rings are not namespaced
    *("kcmp", "process_vm_readv", "process_vm_writev", "ptrace"),
    *("bpf", "fanotify_init", "lookup_dcookie", "open_by_handle_at", "perf_event_open", "userfaultfd"),
    *("chroot", "mount", "pivot_root", "setns", "umount", "umount2", "unshare"),
    *("create_module", "delete_module", "finit_module", "init_module", "kexec_file_load", "kexec_load"),
    *("acct", "nfsservctl", "quotactl", "reboot", "swapoff", "swapon", "syslog", "vhangup"),
    *("clock_settime", "sethostname", "setdomainname", "settimeofday"),
    *("ioperm", "iopl", "modify_ldt", "personality"),
)
REFUSED_NUMBERS = {"pidfd_getfd": 438, "process_madvise": 440, "quotactl_fd": 443}

ABSENT_NUMBERS = {
    "io_uring_setup": 425,
    "io_uring_enter": 426,
    "io_uring_register": 427,
    "open_tree": 428,
    "move_mount": 429,
    "fsopen": 430,
    "fsconfig": 431,
    "fsmount": 432,
    "fspick": 433,
    "clone3": 435,
    "mount_setattr": 442,
    "memfd_secret": 447,
}
UNACCOUNTED = ("memfd_create", "shmget")
"""Memory that no process's resident set and no mount's usage shows once it is unmapped."""

NEW_NAMESPACE_FLAGS = {
    "CLONE_NEWNS": 0x0002_0000,
    "CLONE_NEWCGROUP": 0x0200_0000,
    "CLONE_NEWUTS": 0x0400_0000,
    "CLONE_NEWIPC": 0x0800_0000,
    "CLONE_NEWUSER": 0x1000_0000,
    "CLONE_NEWPID": 0x2000_0000,
    "CLONE_NEWNET": 0x4000_0000,
}
REFUSED_IOCTLS = {"TIOCSTI": 0x5412, "TIOCLINUX": 0x541C}

AF_UNIX = 1
AF_INET = 2
AF_INET6 = 10
PR_SET_PDEATHSIG = 1


@functools.cache
def filter_program(*, network: bool, memory_accounted: bool) -> bytes:
    """The filter as an array of ``struct sock_filter``, built once per process.

    Raises:
        SandboxError: libseccomp is not installed.
    """
    try:
        import pyseccomp  # noqa: PLC0415 - finding libseccomp starts processes; only agents pay for it
    except (ImportError, RuntimeError) as error:
        raise SandboxError(
            f"the system call filter cannot be built: {error}",
            remedy="Install libseccomp (Debian and Ubuntu: apt install libseccomp2; Fedora: dnf install libseccomp).",
        ) from error
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    rules.set_attr(pyseccomp.Attr.ACT_BADARCH, pyseccomp.KILL_PROCESS)
    _add_calls(rules, pyseccomp, memory_accounted=memory_accounted)
    _add_arguments(rules, pyseccomp)
    _add_sockets(rules, pyseccomp, network=network)
    return _refuse_newer_calls() + _export(rules)


def _add_calls(rules: Any, lib: Any, *, memory_accounted: bool) -> None:
    for call in [*REFUSED, *REFUSED_NUMBERS.values()]:
        rules.add_rule(lib.ERRNO(errno.EPERM), call)
    for call in [*ABSENT_NUMBERS.values(), *(() if memory_accounted else UNACCOUNTED)]:
        rules.add_rule(lib.ERRNO(errno.ENOSYS), call)


def _add_arguments(rules: Any, lib: Any) -> None:
    for flag in NEW_NAMESPACE_FLAGS.values():
        rules.add_rule(lib.ERRNO(errno.EPERM), "clone", lib.Arg(0, lib.MASKED_EQ, flag, flag))
    for request in REFUSED_IOCTLS.values():
        # The kernel reads 32 bits of the request: a filter on all 64 is passed by setting a higher one.
        rules.add_rule(lib.ERRNO(errno.EPERM), "ioctl", lib.Arg(1, lib.MASKED_EQ, 0xFFFF_FFFF, request))
    # The sandbox ends with its agent because its first process asked for that.  A job could make that process take
    # the wish back by writing into its memory; so the call does nothing.  It does not fail: programs use it, too.
    rules.add_rule(lib.ERRNO(0), "prctl", lib.Arg(0, lib.MASKED_EQ, 0xFFFF_FFFF, PR_SET_PDEATHSIG))


def _add_sockets(rules: Any, lib: Any, *, network: bool) -> None:
    refuse = lib.ERRNO(errno.EPERM)
    _allow_families(rules, lib, "socket", {AF_INET, AF_INET6} if network else {AF_UNIX}, refuse)
    _allow_families(rules, lib, "socketpair", {AF_UNIX}, refuse)


def _allow_families(rules: Any, lib: Any, call: str, allowed: set[int], refuse: int) -> None:
    # Compared as 64 bits: a family with a higher bit set is above the highest allowed one, hence refused.
    rules.add_rule(refuse, call, lib.Arg(0, lib.GT, max(allowed)))
    for family in set(range(max(allowed))) - allowed:
        rules.add_rule(refuse, call, lib.Arg(0, lib.EQ, family))


def _refuse_newer_calls() -> bytes:
    """Three instructions ahead of libseccomp's: it has no rule for "every number above"."""
    load_number, jump_if_greater, give_back = 0x20, 0x25, 0x06
    no_such_call = 0x0005_0000 | errno.ENOSYS
    return b"".join(
        (
            struct.pack("=HBBI", load_number, 0, 0, 0),
            struct.pack("=HBBI", jump_if_greater, 0, 1, NEWEST_CALL),
            struct.pack("=HBBI", give_back, 0, 0, no_such_call),
        )
    )


def _export(rules: Any) -> bytes:
    descriptor = os.memfd_create("corpgrid-seccomp", os.MFD_CLOEXEC)
    with os.fdopen(descriptor, "r+b", buffering=0) as file:
        rules.export_bpf(file)
        size = file.tell()
        file.seek(0)
        return file.read(size)
