"""What an answer's process may not do, set by the process itself before the first line of the answer.

Four layers, each as far as the system has it, none of them needing an administrator:

* Limits of POSIX (``setrlimit``): CPU time, address space (Linux), no file grows, no core dump, no new process (macOS).
* Linux since 5.13: Landlock (see the kernel's landlock document). Files outside Python, the libraries, the book's
  package and its data can be neither read nor listed.
* Linux on x86-64 and ARM64: a filter of system calls (seccomp, see the kernel's seccomp_filter document). No socket, no
  new process, no signal to another process, no file opened for writing, created, renamed or removed, no limit changed.
  Neither of the two can ever be taken off.
* Everywhere: an audit hook of Python (PEP 578), which refuses the same in words that a reader understands, and the
  modules that hold the checks. It binds Python code; compiled code that an answer could load is held by the layers
  above only.

What stays possible: to read the package and its data, and to copy a solution that the book prints.

The runner loads this file by its path, so it imports nothing of greenlab.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import re
import struct
import sys
from collections.abc import Callable
from typing import Any

WORDS = {
    "filter": "Linux filter of system calls: no writing, no network, no new process",
    "reading": "Landlock: only Python, the libraries and the book's package can be read",
    "limits": "POSIX limits on CPU time and file size",
    "memory": "limit on address space set by the system",
    "hook": "Python's audit hook",
}
NOT_HELD = {  # what is missing where a layer is
    "filter": "compiled code that an answer brings along could write files, start programs or use the network",
    "reading": "compiled code that an answer brings along could read the files that you can read",
    "limits": "CPU time and file size have no limit of the system; time is watched from outside",
    "memory": "memory has no limit of the system; it is watched from outside, twenty times a second",
}
_ARCH = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_DENIED = {  # number on x86-64, number on ARM64; None where there is no such call
    "socket": (41, 198), "socketpair": (53, 199), "connect": (42, 203), "bind": (49, 200), "sendto": (44, 206),
    "fork": (57, None), "vfork": (58, None), "execve": (59, 221), "execveat": (322, 281), "clone3": (435, 435),
    "kill": (62, 129), "tkill": (200, 130), "tgkill": (234, 131), "pidfd_send_signal": (424, 424),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "rt_sigqueueinfo": (129, 138), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "creat": (85, None), "openat2": (437, 437),
    "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276), "mkdir": (83, None), "mkdirat": (258, 34),
    "rmdir": (84, None), "unlink": (87, None), "unlinkat": (263, 35), "link": (86, None), "linkat": (265, 37),
    "symlink": (88, None), "symlinkat": (266, 36), "mknod": (133, None), "mknodat": (259, 33), "chmod": (90, None),
    "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None), "fchown": (93, 55),
    "lchown": (94, None), "fchownat": (260, 54), "truncate": (76, 45), "ftruncate": (77, 46), "utime": (132, None),
    "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5),
    "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16), "mount": (165, 40), "umount2": (166, 39), "chroot": (161, 51), "unshare": (272, 97),
    "setns": (308, 268), "setrlimit": (160, 164), "prlimit64": (302, 261), "setsid": (112, 157), "setpgid": (109, 154),
    "setuid": (105, 146), "setgid": (106, 144), "memfd_create": (319, 279), "io_uring_setup": (425, 425),
    "bpf": (321, 280), "userfaultfd": (323, 282), "shmget": (29, 194), "shmat": (30, 196), "msgget": (68, 186),
    "semget": (64, 190), "mq_open": (240, 180), "add_key": (248, 217), "keyctl": (250, 219), "reboot": (169, 142),
    "ioctl": (16, 29), "fallocate": (285, 47), "swapon": (167, 224), "setpriority": (141, 140),
}  # fmt: skip
_OPENS = (((2, None), 1), ((257, 56), 2))  # open and openat, and which argument holds the flags
_CLONE = (56, 220)
_FCNTL = (72, 25)
_SIGNALS_BY_FILE = (8, 10, 15)  # F_SETOWN, F_SETSIG, F_SETOWN_EX: a pipe that sends any signal to any process
_WRITES = 0o3 | 0o100 | 0o1000 | 0o2000  # write only, read and write, create, truncate, append
_CLONE_THREAD = 0x00010000
_LOAD, _EQUAL, _SET, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_ALLOW, _FAIL = 0x7FFF0000, 0x00050000
_LANDLOCK = 444  # create a set of rules; 445 adds a rule, 446 applies them; the same numbers on every processor
_ALL_RIGHTS = 0x1FFF  # of the first version: execute, write, read, list, remove and make, by kind of file
_READ_RIGHTS, _FILE_RIGHTS = 0x1 | 0x4 | 0x8, 0x1 | 0x2 | 0x4
_HIDDEN = re.compile(r"^greenlab\.(\w+\.view|lab)(\.|$)")
_HIDDEN_FILES = re.compile(r"[\\/](view|classroom)[\\/]|[\\/]exercises\.|\.ipynb$|\.zip$", re.I)
_REFUSED = (
    "os.chdir", "os.fchdir", "socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.spawn",
    "os.startfile",
    "os.kill", "os.killpg", "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.truncate",
    "os.chmod", "os.chown", "os.utime", "os.putenv", "os.setxattr", "os.removexattr", "shutil.", "ctypes.", "resource.",
    "signal.pthread_kill", "pty.", "winreg.", "msvcrt.", "tempfile.", "sqlite3.", "webbrowser.", "urllib.", "ftplib.",
    "http.", "smtplib.", "telnetlib.", "poplib.", "imaplib.", "nntplib.", "fcntl.", "mmap.",
    "gc.get_", "sys._current_frames",
)  # fmt: skip


# not all of /proc/self: it holds root and cwd, which lead to every file
_OWN = tuple(f"/proc/self/{name}" for name in ("cgroup", "maps", "mountinfo", "stat", "statm", "status"))
_SYSTEM = (
    "/usr", "/lib", "/lib64", "/System", "/Library", "/opt/homebrew", "/etc/ld.so.cache", "/etc/localtime", "/dev/null",
    "/dev/urandom", "/dev/random", *_OWN, "/proc/cpuinfo", "/proc/meminfo", "/sys/devices",
)  # fmt: skip


def _step(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("HBBI", code, if_true, if_false, value)


def program(machine: str) -> bytes:
    """The filter for one kind of processor, as instructions of the kernel's packet filter.

    Args:
        machine: "x86_64" or "aarch64".
    """
    arch, column = _ARCH[machine]
    refuse = _step(_RETURN, _FAIL | errno.EPERM)
    steps = [_step(_LOAD, 4), _step(_EQUAL, arch, 1, 0), refuse, _step(_LOAD, 0)]
    if machine == "x86_64":  # the 32-bit numbers of x32 would pass by the list below
        steps += [_step(_AT_LEAST, 0x40000000, 0, 1), refuse]
    for name, numbers in _DENIED.items():
        if numbers[column] is not None:
            # clone3 has its flags in memory, where a filter cannot look: with ENOSYS the C library falls back to clone
            answer = _step(_RETURN, _FAIL | errno.ENOSYS) if name == "clone3" else refuse
            steps += [_step(_EQUAL, int(numbers[column] or 0), 0, 1), answer]
    for numbers, argument in _OPENS:
        if numbers[column] is not None:
            flags = _step(_LOAD, 16 + 8 * argument)
            steps += [_step(_EQUAL, int(numbers[column] or 0), 0, 4), flags, _step(_SET, _WRITES, 0, 1), refuse]
            steps.append(_step(_RETURN, _ALLOW))
    steps += [_step(_EQUAL, _CLONE[column], 0, 3), _step(_LOAD, 16), _step(_SET, _CLONE_THREAD, 1, 0), refuse]
    wanted = [
        _step(_EQUAL, value, len(_SIGNALS_BY_FILE) - 1 - place, 0 if place + 1 < len(_SIGNALS_BY_FILE) else 1)
        for place, value in enumerate(_SIGNALS_BY_FILE)
    ]
    steps += [_step(_EQUAL, _FCNTL[column], 0, len(wanted) + 2), _step(_LOAD, 24), *wanted, refuse]
    return b"".join([*steps, _step(_RETURN, _ALLOW)])


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("steps", ctypes.c_char_p))


def can_filter() -> bool:
    """Whether this system is one for which the filter of system calls is written."""
    return platform.system() == "Linux" and platform.machine() in _ARCH and sys.maxsize >= 2**32


def _filter() -> bool:
    if not can_filter():
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    steps = program(platform.machine())
    kept = ctypes.create_string_buffer(steps, len(steps))
    packed = _Program(len(steps) // 8, ctypes.cast(kept, ctypes.c_char_p))
    # 38: no new privileges, without which only an administrator may filter; 22, 2: the filter itself
    return libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(packed), 0, 0) == 0


def readable(root: str) -> list[str]:
    """The folders and files that an answer may read: Python, the libraries, the book's package and its data.

    Args:
        root: folder of the book.
    """
    own = [os.path.join(root, name) for name in ("greenlab", "data")]
    python = [sys.prefix, sys.base_prefix, sys.exec_prefix, *(path for path in sys.path if path != root)]
    paths = [path for path in [*own, *python, *_SYSTEM] if path and os.path.exists(path)]
    found = {kind(path) for path in paths for kind in (os.path.abspath, os.path.realpath)}
    return sorted(found - {os.path.abspath(root), os.path.realpath(root), os.sep})


def _landlock(roots: list[str]) -> bool:
    """Leave only reading below the roots, by the kernel's own rules; False where it has none."""
    if not can_filter():
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_LANDLOCK, None, 0, 1) < 1:  # the version of the rules; below 1 there are none
        return False
    handled = struct.pack("Q", _ALL_RIGHTS)
    rules = libc.syscall(_LANDLOCK, handled, len(handled), 0)
    if rules < 0:
        return False
    try:
        for path in roots:
            place = os.open(path, os.O_PATH | os.O_CLOEXEC)
            rights = _READ_RIGHTS if os.path.isdir(path) else _READ_RIGHTS & _FILE_RIGHTS
            rule = struct.pack("=Qi", rights, place)
            failed = libc.syscall(_LANDLOCK + 1, rules, 1, rule, 0)
            os.close(place)
            if failed:
                return False
        return libc.prctl(38, 1, 0, 0, 0) == 0 and libc.syscall(_LANDLOCK + 2, rules, 0) == 0
    finally:
        os.close(rules)


def _limits(cpu_s: int, memory_b: int) -> list[str]:
    try:
        import resource
    except ImportError:  # Windows
        return []
    used = resource.getrusage(resource.RUSAGE_SELF)
    total = int(used.ru_utime + used.ru_stime) + cpu_s + 1
    wanted = [("RLIMIT_CPU", total), ("RLIMIT_FSIZE", 0), ("RLIMIT_CORE", 0)]
    if platform.system() == "Darwin":  # it counts processes there; on Linux it counts threads, and the filter is better
        wanted.append(("RLIMIT_NPROC", 0))
    done = ["limits"]
    for name, limit in wanted:
        # a second passes between the signal that says why (SIGXCPU) and the end that no process can refuse
        hard = limit + 1 if name == "RLIMIT_CPU" else limit
        resource.setrlimit(getattr(resource, name), (limit, hard))
    if platform.system() == "Linux":  # macOS takes the call and does not keep the limit
        with open("/proc/self/statm", encoding="ascii") as file:
            mapped = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
        resource.setrlimit(resource.RLIMIT_AS, (mapped + memory_b, mapped + memory_b))
        done.append("memory")
    return done


def _make_hook(roots: list[str]) -> Callable[[str, tuple[Any, ...]], None]:
    """The audit hook. All that it uses is kept in its defaults, where an answer cannot reach it to change it.

    The names of this module and of ``builtins`` can be changed by any code of the process. The defaults can be found
    only through the function, which nothing but the interpreter holds. Texts are taken letter by letter, as a class
    made from ``str`` may lie about itself.
    """
    windows = os.name == "nt"
    here = os.getcwd()
    if windows:
        roots, here = [path.replace(os.sep, "/").lower() for path in roots], here.replace(os.sep, "/").lower()

    def hook(
        event: str, arguments: tuple[Any, ...], *,
        isinstance: Any = isinstance, str: Any = str, bytes: Any = bytes, int: Any = int, set: Any = set,
        type: Any = type, error: Any = PermissionError, refused: Any = _REFUSED, module: Any = _HIDDEN.match,
        file: Any = _HIDDEN_FILES.search, roots: Any = tuple(f"{path}/" for path in roots), here: Any = here,
        writing: Any = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, windows: Any = windows,
    ) -> None:  # fmt: skip
        if event.startswith(refused):
            raise error(f"an answer cannot use {event}")
        if event not in ("import", "open", "os.listdir", "os.scandir"):
            return
        path = "." if arguments[0] is None else arguments[0]
        if event == "open":
            mode, flags = (*arguments, None, None)[1:3]
            if (isinstance(flags, int) and flags & writing) or (isinstance(mode, str) and set(mode) & set("wax+")):
                raise error("an answer cannot write files")
        if type(path) in (int, bool):  # the number of a file that is open already
            return
        if isinstance(path, str):
            path = str.encode(path, "utf-8", "surrogateescape")
        elif not isinstance(path, bytes):
            raise error("an answer can open files by their path only, given as text")
        path = bytes.decode(path, "utf-8", "surrogateescape")
        if event == "import":
            if module(path):
                raise error(f"{path} holds the checks; an answer cannot import it")
            return
        if windows:
            path = path.replace("\\", "/").lower()
        absolute = path.startswith("/") or (windows and path[1:2] == ":")
        parts: list[Any] = []
        for part in (path if absolute else f"{here}/{path}").split("/"):
            if part == "..":
                parts = parts[:-1]
            elif part not in ("", "."):
                parts = [*parts, part]
        path = ("" if windows else "/") + "/".join(parts)
        if file(path):
            raise error("an answer cannot read the checks")
        if not f"{path}/".startswith(roots):
            raise error("an answer can read Python, the book's package and its data, and no other file")

    return hook


def confine(cpu_s: int, memory_b: int, root: str) -> list[str]:
    """Set every layer that this system has; there is no way back for the process.

    Args:
        cpu_s: CPU time from here on [s].
        memory_b: memory on top of what the process has mapped already [B].
        root: folder of the book.

    Returns:
        The layers that hold, as keys of ``WORDS``.
    """
    roots = readable(root)
    hook = _make_hook(roots)
    done = _limits(cpu_s, memory_b)
    if _landlock(roots):
        done.append("reading")
    if _filter():
        done.append("filter")
    sys.addaudithook(hook)
    return [*done, "hook"]
