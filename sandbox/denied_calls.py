"""System calls that no sandboxed program may make, with their numbers on each machine.

They lead out of the sandbox's limits, into other processes, or to parts of the kernel where holes are common.
Docker's default profile denies most of them, depending on its version.
"""

from collections.abc import Mapping

ENOSYS, EPERM = 38, 1

# From Linux: arch/x86/entry/syscalls/syscall_64.tbl and include/uapi/asm-generic/unistd.h.
_X86_64: Mapping[str, int] = {
    "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "unshare": 272, "setns": 308,
    "acct": 163, "quotactl": 179, "add_key": 248, "request_key": 249, "keyctl": 250, "bpf": 321,
    "perf_event_open": 298, "userfaultfd": 323, "name_to_handle_at": 303, "open_by_handle_at": 304,
    "syslog": 103, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312,
    "kexec_load": 246, "kexec_file_load": 320, "init_module": 175, "finit_module": 313,
    "delete_module": 176, "reboot": 169, "swapon": 167, "swapoff": 168, "settimeofday": 164,
    "clock_settime": 227, "sethostname": 170, "setdomainname": 171, "vhangup": 153, "fanotify_init": 300,
    "lookup_dcookie": 212, "nfsservctl": 180, "move_pages": 279, "migrate_pages": 256,
    "iopl": 172, "ioperm": 173, "uselib": 134, "create_module": 174,
}  # fmt: skip
_AARCH64: Mapping[str, int] = {
    "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "unshare": 97, "setns": 268,
    "acct": 89, "quotactl": 60, "add_key": 217, "request_key": 218, "keyctl": 219, "bpf": 280,
    "perf_event_open": 241, "userfaultfd": 282, "name_to_handle_at": 264, "open_by_handle_at": 265,
    "syslog": 116, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272,
    "kexec_load": 104, "kexec_file_load": 294, "init_module": 105, "finit_module": 273,
    "delete_module": 106, "reboot": 142, "swapon": 224, "swapoff": 225, "settimeofday": 170,
    "clock_settime": 112, "sethostname": 161, "setdomainname": 162, "vhangup": 58, "fanotify_init": 262,
    "lookup_dcookie": 18, "nfsservctl": 42, "move_pages": 239, "migrate_pages": 238,
}  # fmt: skip
_EVERYWHERE: Mapping[str, int] = {
    "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "open_tree": 428,
    "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433, "clone3": 435,
    "pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443,
    "lsm_set_self_attr": 460, "open_tree_attr": 467,
}  # fmt: skip

ABSENT = frozenset(("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register"))
"""Calls that fail with ENOSYS, so that libraries use older ones. The others fail with EPERM."""

DENIED_NUMBERS: Mapping[str, dict[str, int]] = {
    "x86_64": {**_X86_64, **_EVERYWHERE},
    "aarch64": {**_AARCH64, **_EVERYWHERE},
}
"""Numbers of the denied calls for each machine whose numbers are known here."""

DENIED = frozenset(DENIED_NUMBERS["x86_64"])
"""Names of the denied calls."""


def error_of(name: str) -> int:
    """Return the error number that a denied call fails with."""
    return ENOSYS if name in ABSENT else EPERM
