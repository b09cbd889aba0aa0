"""Landlock: a process gives up every file but some, for good, without being root. Linux 5.13 and later.

Kernel documentation: userspace-api/landlock. A later ABI only adds rights that can be given up.
"""

import ctypes
import os
import struct
from collections.abc import Iterable
from pathlib import Path

from shared_lib.pipeline.sandbox.libc import LIBC

# The same numbers on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_GET_VERSION = 1
_PATH_BENEATH = 1
_READ_FILE, _READ_DIRECTORY = 1 << 2, 1 << 3
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # how many there are by ABI; 16 from 5 on
_TCP_RIGHTS = 0b11  # bind and connect; ABI 4
_SCOPES = 0b11  # signals to, and abstract sockets of, processes outside; ABI 6
NEWEST = 6
"""The newest ABI whose rights are given up here."""


def restrict_files(readable: Iterable[Path], newest: int = NEWEST) -> bool:
    """Leave this process only what lies beneath these paths, to read. Tells whether the kernel could do it.

    Needs PR_SET_NO_NEW_PRIVS, and holds for threads that are started afterwards. With `newest` it gives up no more than
    a kernel could that has no later ABI. Raises OSError for a kernel that has Landlock, and refuses.
    """
    abi = min(LIBC.syscall(_CREATE_RULESET, None, 0, _GET_VERSION), newest)
    if abi < 1:
        return False
    ruleset = _checked(LIBC.syscall(_CREATE_RULESET, *_sized(_ruleset(abi)), 0))
    try:
        for path in readable:
            if path.is_dir():
                _allow(ruleset, path)
        _checked(LIBC.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return True


def _ruleset(abi: int) -> bytes:
    fields = [(1 << _FILE_RIGHTS.get(abi, 16)) - 1]
    if abi >= 4:
        fields.append(_TCP_RIGHTS)
    if abi >= 6:
        fields.append(_SCOPES)
    return struct.pack(f"={len(fields)}Q", *fields)


def _allow(ruleset: int, path: Path) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", _READ_FILE | _READ_DIRECTORY, descriptor)
        _checked(LIBC.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
    finally:
        os.close(descriptor)


def _checked(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"Landlock: {os.strerror(ctypes.get_errno())}")
    return result


def _sized(structure: bytes) -> tuple[bytes, ctypes.c_size_t]:
    return structure, ctypes.c_size_t(len(structure))
