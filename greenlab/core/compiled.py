"""Loops that numba compiles: where they are kept, how many threads they use, and what happens after a fork.

Used as ``from greenlab.core.compiled import njit`` in place of numba's own. numba is imported when the first loop is
decorated, not before. Three things differ from ``numba.njit(cache=True)``:

* a checkout that can only be read, with no home to write to, still works: compiled code then goes to a temporary folder
* a file of compiled code that is damaged, or that cannot be written, is passed over; the loop is compiled again
* compiled code carries a checksum, since a processor would run damaged code without a word
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import hashlib
import os
import pickle
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from greenlab.core import checks

_started_in: int | None = None  # the process that started numba's threads
_starting = threading.Lock()


def njit(function: Callable[..., Any] | None = None, *, cache: bool = True, **options: Any) -> Any:
    """Compile a function with ``numba.njit``, with the cache described above.

    Args:
        function: the function, when the decorator is written without parentheses.
        cache: keep the compiled code on disk.
        options: of ``numba.njit``, such as ``parallel=True``.

    Returns:
        numba's dispatcher; or, without ``function``, a decorator.

    Raises:
        TypeError: if ``function`` cannot be called, or ``cache`` is no boolean.
    """
    checks.flag("cache", cache)
    if function is None:
        return functools.partial(njit, cache=cache, **options)
    if not callable(function):
        raise TypeError(f"function={function!r} is {type(function).__name__}: give a Python function to compile")
    import numba

    dispatcher = numba.njit(**options)(function)
    if cache:
        dispatcher._cache = _kept(function)  # what numba's own enable_caching does
    return dispatcher


def cfunc(signature: Any, function: Callable[..., Any]) -> Any:
    """Compile a function for one signature, with an ``address`` that other code can call; the cache is that of `njit`.

    Args:
        signature: numba's, such as ``types.void(types.int64)``.
        function: the function.

    Returns:
        numba's ``CFunc``, which must be kept as long as its address is used.

    Raises:
        TypeError: if ``function`` cannot be called.
    """
    if not callable(function):
        raise TypeError(f"function={function!r} is {type(function).__name__}: give a Python function to compile")
    from numba.core import sigutils
    from numba.core.ccallback import CFunc

    made: Any = CFunc(function, sigutils.normalize_signature(signature), locals={}, options={})
    made._cache = _kept(function)
    made.compile()
    return made


def start_threads() -> None:
    """Start numba's threads now, once a process, and leave torch's number of threads as it is.

    The first use of numba's threads sets the OpenMP library that torch shares with it back to all cores, also where the
    reader had asked torch for one thread.
    """
    global _started_in
    if _started_in is not None:
        return
    with _starting:
        if _started_in is not None:
            return
        import numba

        torch = sys.modules.get("torch")
        threads = torch.get_num_threads() if torch else 0
        numba.get_num_threads()  # starts them
        if torch:
            torch.set_num_threads(threads)
        _started_in = os.getpid()


def set_threads(n: int) -> None:
    """Let numba and torch compute with ``n`` threads each, at most as many as numba was started with.

    Args:
        n: number of threads, 1 or more.

    Raises:
        TypeError: if ``n`` is no integer.
        ValueError: if it is below 1.
    """
    checks.integer("n", n, low=1)
    start_threads()
    import numba

    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(min(n, most))
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(min(n, most))


def threads_lost() -> bool:
    """Whether this process is a forked copy of one whose threads were started.

    Such a copy has no threads, and using them would end it.

    Loops without ``parallel=True`` work in such a process as in any other.
    """
    return _started_in is not None and _started_in != os.getpid()


def cache_folder() -> Path:
    """A folder for compiled code, for use where no other folder can be written.

    It lies in the system's temporary folder and belongs to this user only.

    It is found again by later processes if nobody else can write there; otherwise it is a new one, removed at the end.
    """
    if hasattr(os, "getuid"):
        folder = Path(tempfile.gettempdir()) / f"greenlab-numba-{os.getuid()}"
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
            found = folder.lstat()
            # code that somebody else put there would be run: take it only if it is ours and closed to all others
            if stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and not found.st_mode & 0o077:
                return folder
        except OSError:  # a file of that name, or no space
            pass
    folder = Path(tempfile.mkdtemp(prefix="greenlab-numba-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _kept(function: Callable[..., Any]) -> Any:
    """The cache of one function; numba's own "no cache" if not even a temporary folder can be written."""
    import numba
    from numba.core.caching import NullCache

    cache = _cache_class()
    try:
        return cache(function)
    except RuntimeError:  # neither the folder of the source nor the user's cache folder can be written
        try:
            numba.config.CACHE_DIR = str(cache_folder())  # type: ignore[attr-defined]
            return cache(function)
        except (OSError, RuntimeError):
            return NullCache()


@functools.cache
def _cache_class() -> type:
    from numba.core.caching import CompileResultCacheImpl, FunctionCache
    from numba.core.serialize import dumps

    class Checked(CompileResultCacheImpl):
        """Compiled code with its SHA-256."""

        def reduce(self, compiled: Any) -> tuple[bytes, bytes]:
            code = dumps(super().reduce(compiled))
            return hashlib.sha256(code).digest(), code

        def rebuild(self, target_context: Any, reduced: Any) -> Any:
            checksum, code = reduced
            if hashlib.sha256(code).digest() != checksum:
                raise ValueError("the compiled code on disk is damaged")
            return super().rebuild(target_context, pickle.loads(code))

    class Cache(FunctionCache):
        """numba's cache of a function, for which a file that cannot be used is no file."""

        _impl_class = Checked

        def load_overload(self, sig: Any, target_context: Any) -> Any:
            try:
                return super().load_overload(sig, target_context)
            except Exception:  # whatever a damaged pickle raises: EOFError, UnpicklingError, AttributeError, ...
                with contextlib.suppress(OSError):
                    self.flush()  # else the damaged index would stop the saving too
                return None

        def save_overload(self, sig: Any, data: Any) -> None:
            with contextlib.suppress(
                OSError
            ):  # the disk is full, or the folder was removed: it is compiled again next time
                super().save_overload(sig, data)

    return Cache
