"""Where trials run: here and now, in processes of this machine, or as tasks of a Ray cluster.

All three are executors of `concurrent.futures`: `submit(function, *arguments)` returns a Future. Any other executor of
that kind, of Dask or loky say, does as well.
"""

import multiprocessing
import multiprocessing.connection
import os
import signal
import socket
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any

from isometry._errors import LabError, MissingExtraError

PLACES = ("serial", "local", "ray")
ANSWER_SECONDS = 5.0  # that a cluster has to answer in
MAX_RETRIES = 3  # of a Ray task whose worker died; errors of the trial itself are recorded, not tried again


class SerialExecutor(Executor):
    """Runs each call at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Make the call and return its outcome as a future that is done."""
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - the future carries it
            future.set_exception(error)
        return future


class ProcessExecutor(Executor):
    """Runs calls in processes of this machine, each of which lives on, takes nothing over and uses one thread.

    Where a process dies, the call that it was at ends with BrokenProcessPool, and no other call with it.
    """

    def __init__(self, workers: int | None = None) -> None:
        """Start no process yet.

        Args:
            workers: Processes, counts; as many as this process may use processors without it.
        """
        self._context = multiprocessing.get_context("spawn")
        self._threads = ThreadPoolExecutor(workers or _num_processors())
        self._leash, self._end = multiprocessing.Pipe(duplex=False)  # workers end when the other end is closed
        self._own = threading.local()
        self._pools: set[ProcessPoolExecutor] = set()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Make the call in the next process that is free."""
        return self._threads.submit(self._call, fn, *args, **kwargs)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT001, FBT002 - Executor's
        """End the processes when their calls have ended."""
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        for pool in tuple(self._pools):
            pool.shutdown(wait=wait, cancel_futures=cancel_futures)

    def abandon(self) -> None:
        """End the processes now, in the middle of their calls."""
        self._end.close()
        self.shutdown(wait=False, cancel_futures=True)

    def _call(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Make a call in the one process of this thread."""
        pool = getattr(self._own, "pool", None)
        if pool is None:
            pool = ProcessPoolExecutor(1, mp_context=self._context, initializer=_begin, initargs=(self._leash,))
            self._own.pool = pool
            self._pools.add(pool)
        try:
            return pool.submit(fn, *args, **kwargs).result()
        except BrokenProcessPool:
            self._own.pool = None
            self._pools.discard(pool)
            raise


class RayExecutor(Executor):
    """Runs each call as a task of a Ray cluster; a task whose worker dies is run again elsewhere."""

    def __init__(self, address: str | None = None) -> None:
        """Join a cluster, or start one on this machine.

        Args:
            address: HOST:PORT of a cluster, or `auto`; without it one is started and ended here.

        Raises:
            MissingExtraError: If Ray is not installed.
            LabError: If no cluster answers at the address.
        """
        try:
            import ray  # noqa: PLC0415 - an extra, and slow to import
        except ImportError as error:
            raise MissingExtraError("trials on Ray need Ray. Install it: pip install 'isometry[ray]'.") from error
        self._ray = ray
        self._is_own = not ray.is_initialized()
        if self._is_own and address is not None:
            _require_answer(address)
        if self._is_own:
            try:
                ray.init(address=address, log_to_driver=False, configure_logging=False, include_dashboard=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
                raise _no_answer(address, error) from error

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Hand the call to the cluster."""
        remote = self._ray.remote(num_cpus=1, max_retries=MAX_RETRIES)(fn)
        return remote.remote(*args, **kwargs).future()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002 - Executor's
        """Leave the cluster, and end it if it was started here."""
        if self._is_own:
            self._ray.shutdown()


@contextmanager
def executor_on(place: str, *, workers: int | None = None, address: str | None = None) -> Generator[Executor]:
    """Make the executor of a place, and close it after the block.

    Args:
        place: `serial`, `local` or `ray`.
        workers: Processes of `local`, counts; as many as this process may use processors without it.
        address: Of a Ray cluster.

    Yields:
        The executor.

    Raises:
        LabError: If the place is unknown, or an address is given for another place than Ray.
        MissingExtraError: If Ray is not installed.
    """
    if place not in PLACES:
        raise LabError(f"trials cannot run on {place!r}. Choose one of: {', '.join(PLACES)}.")
    if address is not None and place != "ray":
        raise LabError(f"--address names a Ray cluster, and trials run on {place!r}. Give --on ray as well.")
    match place:
        case "serial":
            executor: Executor = SerialExecutor()
        case "local":
            executor = ProcessExecutor(workers)
        case _:
            executor = RayExecutor(address)
    try:
        yield executor
    except BaseException:
        if isinstance(executor, ProcessExecutor):
            executor.abandon()
        else:
            executor.shutdown(wait=False, cancel_futures=True)
        raise
    executor.shutdown()


def _require_answer(address: str) -> None:
    """Refuse an address where nothing listens: Ray itself would try for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        return  # `auto`, which Ray looks up
    try:
        socket.create_connection((host, int(port)), ANSWER_SECONDS).close()
    except (OSError, ValueError, OverflowError) as error:
        raise _no_answer(address, error) from error


def _no_answer(address: str | None, error: Exception) -> LabError:
    return LabError(
        f"no Ray cluster answers at {address!r} ({error}). Start one with `ray start --head`, or leave the address out."
    )


def _num_processors() -> int:
    """Return how many processors this process may use, or how many there are where that is not told."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _begin(leash: Any) -> None:
    """Set a new process up: one thread for tensors, deaf to Ctrl-C, and ended by the process that started it."""
    import torch  # noqa: PLC0415 - in the new process

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to all; the first process ends the others
    torch.set_num_threads(1)
    threading.Thread(target=_end_with, args=(leash,), daemon=True).start()


def _end_with(leash: Any) -> None:
    """End when the other end of the leash is closed, or its process has died."""
    multiprocessing.connection.wait([leash])
    os._exit(1)
