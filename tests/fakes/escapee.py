"""A hostile program: tries everything it knows to get out of its place, and prints a JSON line for each attempt.

Its one argument is a JSON object that names what lies outside: paths, a process, sockets, a shared memory segment.
Run without walls nothing it does harms the machine. Standard library only.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import resource
import signal
import socket
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x20000
MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
PTRACE_SEIZE = 0x4206
STDERR = 2
NUMBERS = {
    "x86_64": {"keyctl": 250, "bpf": 321, "init_module": 175, "open_by_handle_at": 304, "name_to_handle_at": 303},
    "aarch64": {"keyctl": 219, "bpf": 280, "init_module": 105, "open_by_handle_at": 265, "name_to_handle_at": 264},
}[os.uname().machine]

OUT: dict[str, Any] = {}
ATTEMPTS: dict[str, Callable[[], object]] = {}


def attempt(function: Callable[[], object]) -> Callable[[], object]:
    ATTEMPTS[function.__name__] = function
    return function


def called(result: int) -> bool:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return True


def in_child(work: Callable[[], object]) -> bool:
    """Whether `work` succeeds, in a process of its own that it may spoil."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            os._exit(0 if work() else 1)
        os._exit(1)
    return os.waitpid(pid, 0)[1] == 0


def nameless_file(folder: str) -> bool:
    """Whether a file can be made in `folder`; it never has a name."""
    os.close(os.open(folder, os.O_TMPFILE | os.O_WRONLY, 0o600))
    return True


def can_open(path: str, flags: int = os.O_RDONLY) -> bool:
    os.close(os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY))
    return True


# --- files --------------------------------------------------------------------------------------------------------


@attempt
def read_another_sessions_file() -> object:
    return Path(OUT["other"], "work.txt").read_text(encoding="ascii")


@attempt
def write_into_another_session() -> object:
    return nameless_file(OUT["other"])


@attempt
def list_the_volume() -> object:
    return [name for name in os.listdir(Path(OUT["volume"], "sessions")) if name not in Path.cwd().parts]  # noqa: PTH208


@attempt
def read_the_database() -> object:
    return Path(OUT["database"]).read_bytes()


@attempt
def read_the_operators_home() -> object:
    return Path(OUT["private"]).read_bytes()


@attempt
def read_the_password_hashes() -> object:
    return Path("/etc/shadow").read_bytes()


@attempt
def read_private_keys() -> object:
    return os.listdir("/etc/ssl/private") or can_open("/etc/ssl/private")  # noqa: PTH208


@attempt
def write_to_the_system() -> object:
    return nameless_file("/usr")


@attempt
def write_to_etc() -> object:
    return nameless_file("/etc")


@attempt
def write_to_corral_itself() -> object:
    return nameless_file(OUT["checkout"])


@attempt
def write_to_its_python() -> object:
    return nameless_file(OUT["python"])


@attempt
def follow_a_symlink_out() -> object:
    link = Path("a-symlink")
    link.symlink_to(OUT["private"])
    return link.read_bytes()


@attempt
def make_a_hard_link_in() -> object:
    link = Path("a-hard-link")
    link.hardlink_to(OUT["linkable"])
    return link.read_bytes()


@attempt
def rename_a_file_out() -> object:
    file = Path("to-be-renamed")
    file.write_text("out", encoding="ascii")
    return file.rename(Path(OUT["other"], "renamed"))


@attempt
def look_through_the_root_of_process_one() -> object:
    return Path(f"/proc/1/root{OUT['private']}").read_bytes()


@attempt
def open_a_file_by_its_handle() -> object:
    # As in the "shocker" exploit: a handle opens a file wherever it lies on the disk.
    handle = ctypes.create_string_buffer((128).to_bytes(4, sys.byteorder) + bytes(132))
    mount = ctypes.c_int()
    called(LIBC.syscall(NUMBERS["name_to_handle_at"], -100, os.fsencode(Path.cwd()), handle, ctypes.byref(mount), 0))
    return in_child(
        lambda: called(LIBC.syscall(NUMBERS["open_by_handle_at"], os.open(".", os.O_RDONLY), handle, os.O_RDONLY))
    )


@attempt
def use_a_descriptor_that_was_left_open() -> object:
    opened = [link for link in Path("/proc/self/fd").iterdir() if int(link.name) > STDERR]
    return [str(link.readlink()) for link in opened if link.is_symlink()]


# --- processes ----------------------------------------------------------------------------------------------------


@attempt
def read_the_workers_environment() -> object:
    return b"HUSH" in Path(f"/proc/{OUT['victim']}/environ").read_bytes()


@attempt
def signal_the_worker() -> object:
    os.kill(OUT["victim"], 0)
    return is_victim()


def is_victim() -> bool:
    """Whether the number means the same process here: in a namespace of its own it may be one of ours."""
    return b"victim" in Path(f"/proc/{OUT['victim']}/cmdline").read_bytes()


@attempt
def trace_the_worker() -> object:
    return in_child(lambda: is_victim() and called(LIBC.ptrace(PTRACE_SEIZE, OUT["victim"], None, None)))


@attempt
def see_other_processes() -> object:
    return is_victim()


@attempt
def raise_its_priority() -> object:
    return in_child(lambda: os.nice(-5) is not None)


# --- the kernel ---------------------------------------------------------------------------------------------------


@attempt
def make_a_user_namespace() -> object:
    return in_child(lambda: called(LIBC.unshare(CLONE_NEWUSER)))


@attempt
def mount_something() -> object:
    Path("mounted").mkdir(exist_ok=True)
    return in_child(
        lambda: called(LIBC.unshare(CLONE_NEWNS)) and called(LIBC.mount(b"none", b"mounted", b"tmpfs", 0, None))
    )


@attempt
def make_the_system_writable() -> object:
    return OUT["walled"] and called(LIBC.mount(None, b"/usr", None, MS_REMOUNT | MS_BIND, None))


@attempt
def take_a_cover_off() -> object:
    return OUT["walled"] and called(LIBC.umount2(b"/tmp", 2))


@attempt
def change_its_root() -> object:
    return in_child(lambda: os.chroot("/proc") is None)


@attempt
def become_another_user() -> object:
    return in_child(lambda: os.setresuid(12345, 12345, 12345) is None)


@attempt
def gain_by_a_setuid_program() -> object:
    return "NoNewPrivs:\t0" in Path("/proc/self/status").read_text(encoding="ascii")


@attempt
def keep_a_capability() -> object:
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return any(int(line.split()[1], 16) for line in status if line.startswith(("CapEff", "CapPrm", "CapBnd")))


@attempt
def say_what_a_core_dump_runs() -> object:
    return can_open("/proc/sys/kernel/core_pattern", os.O_WRONLY)


@attempt
def turn_a_knob_of_the_kernel() -> object:
    return can_open("/proc/sys/vm/overcommit_memory", os.O_WRONLY)


@attempt
def pull_the_trigger_of_sysrq() -> object:
    return can_open("/proc/sysrq-trigger", os.O_WRONLY)


@attempt
def read_the_kernels_memory() -> object:
    return can_open("/proc/kcore")


@attempt
def read_the_kernels_log() -> object:
    return can_open("/dev/kmsg")


@attempt
def look_at_devices_in_sys() -> object:
    return os.listdir("/sys/block")  # noqa: PTH208


@attempt
def load_a_module() -> object:
    # Refused for being none, and not for who asks.
    LIBC.syscall(NUMBERS["init_module"], b"none", 4, b"")
    return ctypes.get_errno() == errno.ENOEXEC


@attempt
def load_a_program_into_the_kernel() -> object:
    shape = ctypes.create_string_buffer(b"".join(n.to_bytes(4, sys.byteorder) for n in (2, 4, 4, 1)) + bytes(112))
    return called(LIBC.syscall(NUMBERS["bpf"], 0, shape, 128))


@attempt
def make_a_device() -> object:
    os.mknod("a-device", stat.S_IFBLK | 0o600, os.makedev(7, 0))
    return Path("a-device").unlink() is None


@attempt
def find_a_disk() -> object:
    return [entry.name for entry in Path("/dev").iterdir() if entry.is_block_device()]


@attempt
def use_the_workers_keys() -> object:
    # KEYCTL_SEARCH in the session keyring (-3).
    return called(LIBC.syscall(NUMBERS["keyctl"], 10, -3, b"user", os.fsencode(OUT["key"]), 0))


@attempt
def type_into_a_terminal() -> object:
    return can_open("/dev/tty", os.O_RDWR)


# --- limits -------------------------------------------------------------------------------------------------------


@attempt
def raise_a_limit() -> object:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return in_child(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard + 1)) is None)


@attempt
def write_a_file_without_end() -> object:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    file = Path("endless")
    file.touch()
    try:
        os.truncate(file, 1 << 40)
    finally:
        file.unlink()
    return True


@attempt
def leave_a_core_dump() -> object:
    return resource.getrlimit(resource.RLIMIT_CORE)[1] != 0


# --- channels -----------------------------------------------------------------------------------------------------


@attempt
def reach_a_socket_in_a_folder() -> object:
    return reaches(socket.AF_UNIX, OUT["socket"])


@attempt
def reach_an_abstract_socket() -> object:
    return reaches(socket.AF_UNIX, f"\0{OUT['abstract']}")


@attempt
def reach_the_machines_loopback() -> object:
    return reaches(socket.AF_INET, ("127.0.0.1", OUT["port"]))


def reaches(family: int, address: Any) -> bool:
    with socket.socket(family, socket.SOCK_STREAM) as channel:
        channel.settimeout(5)
        channel.connect(address)
    return True


@attempt
def read_shared_memory_by_name() -> object:
    return Path("/dev/shm", OUT["memory"]).read_bytes()


@attempt
def attach_to_shared_memory() -> object:
    return called(LIBC.shmget(OUT["segment"], 0, 0))


@attempt
def read_what_others_left_in_tmp() -> object:
    return Path(OUT["left"]).read_bytes()


def main() -> None:
    OUT.update(json.loads(sys.argv[1]))
    for name, work in ATTEMPTS.items():
        try:
            done = work()
            done, note = bool(done), str(done)
        except OSError as problem:
            done, note = False, problem.strerror or ""
        sys.stdout.write(f"{json.dumps({'attempt': name, 'done': done, 'note': note})}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
