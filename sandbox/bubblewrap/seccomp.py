"""A filter of system calls for bubblewrap: those that Docker's default profile denies too."""

import platform
import struct
from collections.abc import Mapping

_ALLOW = 0x7FFF0000
_EPERM = 0x00050000 | 1
_ENOSYS = 0x00050000 | 38

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_X32_BIT = 0x40000000
_NEW_NAMESPACES = 0x7E020080  # CLONE_NEW{TIME,NS,CGROUP,UTS,IPC,USER,PID,NET}

# From Linux: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
_X86_64: Mapping[str, int] = {
    "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "unshare": 272, "setns": 308,
    "acct": 163, "quotactl": 179, "add_key": 248, "request_key": 249, "keyctl": 250, "bpf": 321,
    "perf_event_open": 298, "userfaultfd": 323, "name_to_handle_at": 303, "open_by_handle_at": 304,
    "syslog": 103, "clone": 56, "socket": 41, "memfd_create": 319, "shmget": 29, "msgget": 68,
}  # fmt: skip
_AARCH64: Mapping[str, int] = {
    "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "unshare": 97, "setns": 268,
    "acct": 89, "quotactl": 60, "add_key": 217, "request_key": 218, "keyctl": 219, "bpf": 280,
    "perf_event_open": 241, "userfaultfd": 282, "name_to_handle_at": 264, "open_by_handle_at": 265,
    "syslog": 116, "clone": 220, "socket": 198, "memfd_create": 279, "shmget": 194, "msgget": 186,
}  # fmt: skip
_EVERYWHERE: Mapping[str, int] = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
    "mount_setattr": 442, "clone3": 435, "memfd_secret": 447,
}  # fmt: skip
_MACHINES: Mapping[str, tuple[int, Mapping[str, int]]] = {
    "x86_64": (0xC000003E, _X86_64),
    "aarch64": (0xC00000B7, _AARCH64),
}
_UNCOUNTED = {"memfd_create", "memfd_secret", "shmget", "msgget"}
_FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK (AF_VSOCK ignores namespaces)


def seccomp_filter(memory_is_counted: bool) -> bytes | None:
    """Return a BPF program for the kernel. None on a machine whose system call numbers are unknown here.

    New namespaces are denied, because a program could mount file systems without a size in them. Without a
    cgroup that counts memory, the kinds of memory that belong to no process are denied too.
    """
    if platform.machine() not in _MACHINES:
        return None
    architecture, calls = _MACHINES[platform.machine()]
    denied = {**calls, **_EVERYWHERE}
    special = {"clone", "socket"} | (_UNCOUNTED if memory_is_counted else set())
    code = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_EQUAL, architecture, 1, 0),
        _instruction(_RETURN, _ENOSYS),
        _instruction(_LOAD, _NUMBER),
        _instruction(_AT_LEAST, _X32_BIT, 0, 1),
        _instruction(_RETURN, _ENOSYS),
    ]
    for name in sorted(denied.keys() - special):
        # The flags of clone3 are out of a filter's sight, and libc falls back to clone.
        error = _ENOSYS if name == "clone3" else _EPERM
        code += [_instruction(_EQUAL, denied[name], 0, 1), _instruction(_RETURN, error)]
    code += [
        _instruction(_EQUAL, denied["socket"], 0, len(_FAMILIES) + 3),
        _instruction(_LOAD, _FIRST_ARGUMENT),
        *(_instruction(_EQUAL, family, len(_FAMILIES) - place) for place, family in enumerate(_FAMILIES)),
        _instruction(_RETURN, _EPERM),
        _instruction(_RETURN, _ALLOW),
        _instruction(_EQUAL, denied["clone"], 0, 3),
        _instruction(_LOAD, _FIRST_ARGUMENT),
        _instruction(_ANY_BIT, _NEW_NAMESPACES, 0, 1),
        _instruction(_RETURN, _EPERM),
        _instruction(_RETURN, _ALLOW),
    ]
    return b"".join(code)


def _instruction(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)
