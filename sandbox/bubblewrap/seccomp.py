"""A filter of system calls for bubblewrap."""

import platform
import struct
from collections.abc import Mapping

from sandbox.denied_calls import DENIED_NUMBERS, ENOSYS, EPERM, error_of

_ALLOW, _ERROR = 0x7FFF0000, 0x00050000

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
_X32_BIT = 0x40000000
_NEW_NAMESPACES = 0x7E020080  # CLONE_NEW{TIME,NS,CGROUP,UTS,IPC,USER,PID,NET}

_ARGUMENT_CALLS: Mapping[str, Mapping[str, int]] = {
    "x86_64": {"clone": 56, "socket": 41},
    "aarch64": {"clone": 220, "socket": 198},
}
_UNCOUNTED: Mapping[str, Mapping[str, int]] = {
    "x86_64": {"memfd_create": 319, "memfd_secret": 447, "shmget": 29, "msgget": 68},
    "aarch64": {"memfd_create": 279, "memfd_secret": 447, "shmget": 194, "msgget": 186},
}
_ARCHITECTURES: Mapping[str, int] = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_FAMILIES = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK (AF_VSOCK ignores namespaces)


def seccomp_filter(memory_is_counted: bool) -> bytes | None:
    """Return a BPF program for the kernel. None on a machine whose system call numbers are unknown here.

    New namespaces are denied, because a program could mount file systems without a size in them. Without a
    cgroup that counts memory, the kinds of memory that belong to no process are denied too.
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        return None
    denied = {**DENIED_NUMBERS[machine], **({} if memory_is_counted else _UNCOUNTED[machine])}
    calls = _ARGUMENT_CALLS[machine]
    code = [
        _instruction(_LOAD, _ARCHITECTURE),
        _instruction(_EQUAL, _ARCHITECTURES[machine], 1, 0),
        _instruction(_RETURN, _ERROR | ENOSYS),
        _instruction(_LOAD, _NUMBER),
        _instruction(_AT_LEAST, _X32_BIT, 0, 1),
        _instruction(_RETURN, _ERROR | ENOSYS),
    ]
    for name, number in sorted(denied.items()):
        code += [_instruction(_EQUAL, number, 0, 1), _instruction(_RETURN, _ERROR | error_of(name))]
    code += [
        _instruction(_EQUAL, calls["socket"], 0, len(_FAMILIES) + 3),
        _instruction(_LOAD, _FIRST_ARGUMENT),
        *(_instruction(_EQUAL, family, len(_FAMILIES) - place) for place, family in enumerate(_FAMILIES)),
        _instruction(_RETURN, _ERROR | EPERM),
        _instruction(_RETURN, _ALLOW),
        _instruction(_EQUAL, calls["clone"], 0, 3),
        _instruction(_LOAD, _FIRST_ARGUMENT),
        _instruction(_ANY_BIT, _NEW_NAMESPACES, 0, 1),
        _instruction(_RETURN, _ERROR | EPERM),
        _instruction(_RETURN, _ALLOW),
    ]
    return b"".join(code)


def _instruction(code: int, operand: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, operand)
