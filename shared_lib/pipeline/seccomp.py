"""seccomp: a process gives up system calls, for good, without being root. Linux, x86-64 and AArch64.

A list of what is denied, not of what is allowed: allocators, threads and codecs differ in what they call from one
version to the next, and one that is denied its call fails on some image in production.
"""

import ctypes
import errno
import platform
import struct

# Speak to the world; become another program; reach into other processes; ask the kernel for what decoding never needs.
_DENIED = {
    "x86_64": {
        "socket": 41, "socketpair": 53, "io_uring_setup": 425,
        "execve": 59, "execveat": 322,
        "kill": 62, "pidfd_open": 434, "pidfd_send_signal": 424,
        "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311,
        "unshare": 272, "setns": 308, "mount": 165, "bpf": 321, "userfaultfd": 323, "perf_event_open": 298,
        "add_key": 248, "request_key": 249, "keyctl": 250,
    },
    "aarch64": {
        "socket": 198, "socketpair": 199, "io_uring_setup": 425,
        "execve": 221, "execveat": 281,
        "kill": 129, "pidfd_open": 434, "pidfd_send_signal": 424,
        "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271,
        "unshare": 97, "setns": 268, "mount": 40, "bpf": 280, "userfaultfd": 282, "perf_event_open": 241,
        "add_key": 217, "request_key": 218, "keyctl": 219,
    },
}  # fmt: skip
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000  # the same calls under other numbers, on x86-64

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06  # classic BPF
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
_ALLOW, _DENY, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def deny_system_calls() -> bool:
    """Make the calls above fail with EPERM. Tells whether kernel and architecture could do it.

    Needs PR_SET_NO_NEW_PRIVS, and holds for threads that are started afterwards.
    """
    machine = platform.machine()
    if machine not in _DENIED:
        return False
    code = _compile(_AUDIT_ARCH[machine], sorted(_DENIED[machine].values()))
    program = _Program(len(code) // 8, code)
    return bool(ctypes.CDLL(None).prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _compile(architecture: int, denied: list[int]) -> bytes:
    to_deny = len(denied) + 1  # instructions from the first comparison to the denial
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),  # 32-bit calls from a 64-bit process
        (_LOAD, 0, 0, _NUMBER),
        (_IF_AT_LEAST, to_deny, 0, _X32_BIT),
        *((_IF_EQUAL, to_deny - 1 - at, 0, number) for at, number in enumerate(denied)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _DENY),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
