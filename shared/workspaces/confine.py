"""The program that Landlock's walls start: it gives up what it may not do, for ever, and becomes the agent.

Run by path, without anything of ours importable: standard library only. Words: `read:<path>`, `write:<path>`,
`limit:<name>=<soft>:<hard>`, `keep:<capability>`, `no-network`, then `--` and the agent's command. It fails closed.
"""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import stat
import struct
import sys

_LIBC = ctypes.CDLL(None, use_errno=True)
_CREATE, _ADD, _RESTRICT = 444, 445, 446
"""Landlock's calls; the same numbers on every architecture."""
_PR_SET_NO_NEW_PRIVS, _PR_CAPBSET_DROP, _PR_SET_SECCOMP = 38, 24, 22
_LAST_CAPABILITY = 63

_READ = 0b1101
"""Execute, read files, read folders."""
_FILE = 0b1100_0000_0000_0111
"""What can be said of a file: execute, write, read, truncate, ioctl."""
_DEVICES = 0b1000_0100_0000
"""Make character and block devices: never."""
_FS_BITS = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many kinds of access each version knows; later ones know 16."""
_TCP = 0b11
_SCOPES = 0b11
"""Abstract unix sockets and signals (version 6)."""

_CALLS = {"x86_64": (0xC000003E, 41, 425), "aarch64": (0xC00000B7, 198, 425)}
"""Of each architecture: its name in a filter, and the numbers of `socket` and `io_uring_setup`."""


def main(words: list[str]) -> None:
    """Confine this process as `words` say, and run the command after `--`."""
    end = words.index("--")
    rules, command = words[:end], words[end + 1 :]
    has_network = "no-network" not in rules
    kept = {int(word[5:]) for word in rules if word.startswith("keep:")}
    for word in rules:
        if word.startswith("limit:"):
            name, _, both = word[6:].partition("=")
            soft, _, hard = both.partition(":")
            resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (int(soft), int(hard)))
    _drop_capabilities(kept)
    _check(_LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no_new_privs")
    _restrict(rules, has_network=has_network)
    if not has_network:
        _refuse_sockets()
    os.execvp(command[0], command)  # noqa: S606 - a shell is what we must not have here


def _drop_capabilities(kept: set[int]) -> None:
    if os.geteuid() != 0:
        return
    for number in range(_LAST_CAPABILITY + 1):
        # Those the kernel does not know are refused.
        if number not in kept:
            _LIBC.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    # What is left of the permitted ones ends with exec, which gives root no more than the bounding set.


def _restrict(rules: list[str], *, has_network: bool) -> None:
    version = _LIBC.syscall(_CREATE, None, ctypes.c_size_t(0), 1)
    _check(version, "Landlock")
    every = (1 << _FS_BITS.get(version, 16)) - 1
    fields = [every]
    if version >= 4:
        fields.append(0 if has_network else _TCP)
    if version >= 6:
        fields.append(_SCOPES)
    wanted = struct.pack(f"={len(fields)}Q", *fields)
    ruleset = _LIBC.syscall(_CREATE, wanted, ctypes.c_size_t(len(wanted)), 0)
    _check(ruleset, "a ruleset")
    for word in rules:
        kind, _, path = word.partition(":")
        if kind in {"read", "write"}:
            _allow(ruleset, path, every & (_READ if kind == "read" else ~_DEVICES))
    _check(_LIBC.syscall(_RESTRICT, ruleset, 0), "the restriction")
    os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        file = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        # It is not there, or may not be reached: then nothing needs to be allowed.
        return
    if not stat.S_ISDIR(os.fstat(file).st_mode):
        access &= _FILE
    rule = struct.pack("=Qi", access, file)
    _check(_LIBC.syscall(_ADD, ruleset, 1, rule, 0), f"a rule for {path}")
    os.close(file)


def _refuse_sockets() -> None:
    """Landlock bounds TCP alone: no socket but a unix one can be made at all."""
    architecture, socket, io_uring = _CALLS[platform.machine()]
    refuse, allow, kill = 0x00050001, 0x7FFF0000, 0x80000000  # EPERM
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    program = [
        (load, 0, 0, 4),  # the architecture
        (equal, 1, 0, architecture),
        (give, 0, 0, kill),
        (load, 0, 0, 0),  # the call
        (at_least, 0, 1, 0x40000000),  # x32, which has numbers of its own
        (give, 0, 0, kill),
        (equal, 3, 0, io_uring),
        (equal, 0, 3, socket),
        (load, 0, 0, 16),  # its first argument, the family
        (equal, 1, 0, 1),  # AF_UNIX
        (give, 0, 0, refuse),
        (give, 0, 0, allow),
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    filter_ = struct.pack("@HxxxxxxP", len(program), ctypes.addressof(code))
    _check(_LIBC.prctl(_PR_SET_SECCOMP, 2, filter_, 0, 0), "the filter of sockets")


def _check(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno()
        sys.exit(f"confine: {what} is refused: {os.strerror(number)}")


if __name__ == "__main__":
    main(sys.argv[1:])
