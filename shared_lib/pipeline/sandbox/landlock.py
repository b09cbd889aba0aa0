"""Landlock: restrict a process to a few files, for good, without being root. Linux 5.13 and later.

Kernel documentation: userspace-api/landlock. A later ABI only adds rights that a process can give up.
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
_FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}  # their number by ABI; 16 from ABI 5 on
_TCP_RIGHTS = 0b11  # bind and connect; ABI 4
_SCOPES = 0b11  # signals to, and abstract sockets of, processes outside; ABI 6
NEWEST = 6
"""The newest ABI whose rights we give up."""


def restrict_files(readable: Iterable[Path], newest: int = NEWEST) -> bool:
    """Allow this process only to read what lies beneath these paths. Return whether the kernel supports that.

    Needs PR_SET_NO_NEW_PRIVS, and also holds for threads started afterwards. With `newest`, use no later ABI than this.
    Raises OSError if the kernel has Landlock and denies it.
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
