"""seccomp: restrict a process to a few system calls, for good, without being root. Linux, x86-64 and AArch64.

This is a list of allowed calls. Linux has some 380 and gains more with every release; a worker needs about 60, so a
list of denied calls would be longer and never complete. Other calls return ENOSYS, as from a kernel that does not have
them: libraries expect that, and fall back to an older call or do without, where they would fail on EPERM. So a codec
that begins to use a new call in a later version most likely still works.

Some calls depend on their arguments: a worker may read files but not write them, start threads but not processes, and
signal itself but no other process.
"""

import ctypes
import errno
import os
import platform
import struct
from functools import cache

from shared_lib.pipeline.sandbox.libc import LIBC

# Reading and writing open descriptors, finding files, memory, threads, its own signals, clocks, and its identity.
_ALLOWED = {
    "x86_64": {
        "read": 0, "write": 1, "readv": 19, "writev": 20, "pread64": 17, "close": 3, "lseek": 8,
        "stat": 4, "fstat": 5, "lstat": 6, "newfstatat": 262, "statx": 332, "statfs": 137, "fstatfs": 138,
        "access": 21, "faccessat": 269, "faccessat2": 439, "readlink": 89, "readlinkat": 267, "getdents64": 217,
        "getcwd": 79,
        "mmap": 9, "mprotect": 10, "munmap": 11, "brk": 12, "mremap": 25, "mincore": 27, "madvise": 28,
        "futex": 202, "set_robust_list": 273, "rseq": 334, "membarrier": 324,
        "sched_yield": 24, "sched_getaffinity": 204, "getcpu": 309,
        "rt_sigaction": 13, "rt_sigprocmask": 14, "rt_sigreturn": 15, "sigaltstack": 131, "restart_syscall": 219,
        "exit": 60, "exit_group": 231,
        "getpid": 39, "getppid": 110, "gettid": 186, "getuid": 102, "getgid": 104, "geteuid": 107, "getegid": 108,
        "clock_gettime": 228, "clock_getres": 229, "clock_nanosleep": 230, "nanosleep": 35, "gettimeofday": 96,
        "time": 201, "times": 100, "getrusage": 98, "sysinfo": 99, "uname": 63, "getrandom": 318,
        "poll": 7, "ppoll": 271, "select": 23, "pselect6": 270,
    },
    "aarch64": {
        "read": 63, "write": 64, "readv": 65, "writev": 66, "pread64": 67, "close": 57, "lseek": 62,
        "fstat": 80, "newfstatat": 79, "statx": 291, "statfs": 43, "fstatfs": 44,
        "faccessat": 48, "faccessat2": 439, "readlinkat": 78, "getdents64": 61,
        "getcwd": 17,
        "mmap": 222, "mprotect": 226, "munmap": 215, "brk": 214, "mremap": 216, "mincore": 232, "madvise": 233,
        "futex": 98, "set_robust_list": 99, "rseq": 293, "membarrier": 283,
        "sched_yield": 124, "sched_getaffinity": 123, "getcpu": 168,
        "rt_sigaction": 134, "rt_sigprocmask": 135, "rt_sigreturn": 139, "sigaltstack": 132, "restart_syscall": 128,
        "exit": 93, "exit_group": 94,
        "getpid": 172, "getppid": 173, "gettid": 178, "getuid": 174, "getgid": 176, "geteuid": 175, "getegid": 177,
        "clock_gettime": 113, "clock_getres": 114, "clock_nanosleep": 115, "nanosleep": 101, "gettimeofday": 169,
        "times": 153, "getrusage": 165, "sysinfo": 179, "uname": 160, "getrandom": 278,
        "ppoll": 73, "pselect6": 72,
    },
}  # fmt: skip
_BY_ARGUMENT = {
    "x86_64": {"openat": 257, "clone": 56, "tgkill": 234, "prlimit64": 302, "fcntl": 72, "prctl": 157},
    "aarch64": {"openat": 56, "clone": 220, "tgkill": 131, "prlimit64": 261, "fcntl": 25, "prctl": 167},
}
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}

_PR_SET_SECCOMP, _MODE_FILTER = 22, 2
_LOAD, _IF_EQUAL, _IF_SET, _RETURN = 0x20, 0x15, 0x45, 0x06  # classic BPF
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
_ALLOW, _DENY, _KILL = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x80000000
_UNKNOWN = 0x00050000 | errno.ENOSYS
_CLONE_THREAD = 0x10000
_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC  # the same on both
_HARMLESS_FCNTL = (1, 2, 3, 4)  # get and set flags; others make the kernel send signals, or enlarge pipes
_PR_SET_NAME = 15  # of a thread
_ANY_PID = 0xFFFFFFFF  # stands in a compiled filter where the process's own id goes; no process has this one

_Step = tuple[int, int, int, int]
"""An operation, the number of steps to skip if its condition holds and if not, and its operand."""


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def restrict_system_calls() -> bool:
    """Allow this process only the system calls above. Return whether the kernel and architecture support that.

    Needs PR_SET_NO_NEW_PRIVS, and also holds for threads started afterwards.
    """
    template = prepare_filter()
    if template is None:
        return False
    code = template.replace(_pack(_ANY_PID), _pack(os.getpid()))
    program = _Program(len(code) // 8, code)
    return bool(LIBC.prctl(_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0) == 0)


@cache
def prepare_filter() -> bytes | None:
    """Compile the filter for any process. Return None for an architecture that has none.

    Call it before forking: compiling takes 0.4 ms, and only the process id differs.
    """
    machine = platform.machine()
    return compile_filter(machine, _ANY_PID) if machine in _ALLOWED else None


def compile_filter(machine: str, pid: int) -> bytes:
    """Return the filter for the process with this id, as classic BPF (Linux: userspace-api/seccomp_filter)."""
    allowed = sorted(_ALLOWED[machine].values())
    steps = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 1, 0, _AUDIT_ARCH[machine]),
        (_RETURN, 0, 0, _KILL),  # 32-bit calls from a 64-bit process
        (_LOAD, 0, 0, _NUMBER),  # x32's have a bit set, so that they are unknown
    ]
    for name, number in _BY_ARGUMENT[machine].items():
        verdict = _judge(name, pid)
        steps += [(_IF_EQUAL, 0, len(verdict), number), *verdict]
    steps += [(_IF_EQUAL, len(allowed) - at, 0, number) for at, number in enumerate(allowed)]
    steps += [(_RETURN, 0, 0, _UNKNOWN), (_RETURN, 0, 0, _ALLOW)]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def _judge(name: str, pid: int) -> list[_Step]:
    """Return the steps that allow or deny a call by its arguments.

    The kernel reads only the low half of all arguments but pointers.
    """
    match name:
        case "openat":
            return [(_LOAD, 0, 0, _argument(2)), (_IF_SET, 0, 1, _TO_WRITE), *_DENY_OR_ALLOW]
        case "clone":  # clone3's flags lie in memory, which a filter cannot read
            return [(_LOAD, 0, 0, _argument(0)), (_IF_SET, 1, 0, _CLONE_THREAD), *_DENY_OR_ALLOW]
        case "tgkill":  # `abort` uses it
            return [(_LOAD, 0, 0, _argument(0)), (_IF_EQUAL, 1, 0, pid), *_DENY_OR_ALLOW]
        case "prlimit64":  # it may read its own limits, and set none
            return [
                (_LOAD, 0, 0, _argument(0)), (_IF_EQUAL, 0, 4, 0),
                (_LOAD, 0, 0, _argument(2)), (_IF_EQUAL, 0, 2, 0),
                (_LOAD, 0, 0, _argument(2) + 4), (_IF_EQUAL, 1, 0, 0),
                *_DENY_OR_ALLOW,
            ]  # fmt: skip
        case "fcntl":
            some = len(_HARMLESS_FCNTL)
            tests = [(_IF_EQUAL, some - at, 0, command) for at, command in enumerate(_HARMLESS_FCNTL)]
            return [(_LOAD, 0, 0, _argument(1)), *tests, *_DENY_OR_ALLOW]
        case _:  # prctl
            return [(_LOAD, 0, 0, _argument(0)), (_IF_EQUAL, 1, 0, _PR_SET_NAME), *_DENY_OR_ALLOW]


_DENY_OR_ALLOW = [(_RETURN, 0, 0, _DENY), (_RETURN, 0, 0, _ALLOW)]


def _pack(pid: int) -> bytes:
    return struct.pack("=I", pid)


def _argument(number: int) -> int:
    """Return the offset of its low half in struct seccomp_data."""
    return 16 + 8 * number
