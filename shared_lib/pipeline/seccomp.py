"""seccomp: a process gives up system calls, for good, without being root. Linux, x86-64 and AArch64.

A list of what is denied, not of what is allowed: allocators, threads and codecs differ in what they call from one
version to the next, and one that is denied its call fails on some image in production.
"""

import ctypes
import errno
import platform
import struct

# Speak to the world; become another program, or two; reach into other processes; leave in the kernel what outlives us,
# and counts towards no limit; ask the kernel for what decoding never needs.
_DENIED = {
    "x86_64": {
        "socket": 41, "socketpair": 53, "io_uring_setup": 425,
        "execve": 59, "execveat": 322, "fork": 57, "vfork": 58,
        "kill": 62, "pidfd_open": 434, "pidfd_send_signal": 424,
        "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311,
        "shmget": 29, "semget": 64, "msgget": 68, "mq_open": 240,
        "unshare": 272, "setns": 308, "mount": 165, "bpf": 321, "userfaultfd": 323, "perf_event_open": 298,
        "add_key": 248, "request_key": 249, "keyctl": 250,
    },
    "aarch64": {
        "socket": 198, "socketpair": 199, "io_uring_setup": 425,
        "execve": 221, "execveat": 281,
        "kill": 129, "pidfd_open": 434, "pidfd_send_signal": 424,
        "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271,
        "shmget": 194, "semget": 190, "msgget": 186, "mq_open": 180,
        "unshare": 97, "setns": 268, "mount": 40, "bpf": 280, "userfaultfd": 282, "perf_event_open": 241,
        "add_key": 217, "request_key": 218, "keyctl": 219,
    },
}  # fmt: skip
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435  # on both; its flags lie in memory, where a filter cannot look
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_X32_BIT = 0x40000000  # the same calls under other numbers, on x86-64

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _IF_EQUAL, _IF_AT_LEAST, _IF_SET, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # classic BPF
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data
_ALLOW, _DENY, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
_UNKNOWN = 0x00050000 | errno.ENOSYS  # so that glibc calls clone instead
_CLONE_THREAD = 0x10000


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def deny_system_calls() -> bool:
    """Make the calls above fail with EPERM. Tells whether kernel and architecture could do it.

    Needs PR_SET_NO_NEW_PRIVS, and holds for threads that are started afterwards.
    """
    machine = platform.machine()
    if machine not in _DENIED:
        return False
    code = _compile(_AUDIT_ARCH[machine], _CLONE[machine], sorted(_DENIED[machine].values()))
    program = _Program(len(code) // 8, code)
    return bool(ctypes.CDLL(None).prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


def _compile(architecture: int, clone: int, denied: list[int]) -> bytes:
    """Each step is an operation, how many steps to skip if its condition holds and if not, and its operand."""
    to_deny = len(denied)  # steps from the first comparison over the others and the permission
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, architecture),
        (_RETURN, 0, 0, _KILL),  # 32-bit calls from a 64-bit process
        (_LOAD, 0, 0, _NUMBER),
        (_IF_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, _UNKNOWN),
        (_IF_EQUAL, 0, 4, clone),
        (_LOAD, 0, 0, _FIRST_ARGUMENT),
        (_IF_SET, 0, 1, _CLONE_THREAD),
        (_RETURN, 0, 0, _ALLOW),  # a thread, not a process
        (_RETURN, 0, 0, _DENY),
        (_IF_AT_LEAST, to_deny + 1, 0, _X32_BIT),
        *((_IF_EQUAL, to_deny - at, 0, number) for at, number in enumerate(denied)),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _DENY),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)
