"""An event loop whose time is a number, and the processes that live on it.

Rules:
* Nothing waits: when nobody has anything to do, time jumps to the next timer.  Callbacks run in the order in which
  they were asked for, so that the same program with the same seed does the same things.
* There are no sockets and no threads: what is given to an executor runs inline.
* Time passes: each round costs a *grain* (a microsecond or so), and every moment is a multiple of it.  So differences
  of moments are exact, and whoever waits for a moment reaches it.
* Code runs in a ``Process``, found by its context: one run of one program on one simulated computer.  A process that is
  asleep (a closed lid) stands still, timers included; one that is killed is cancelled, and must have been cut off from
  the world by its owner before, so that nothing which unwinds can be seen.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import math
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

GRAIN_SECONDS = 2.0**-20
_PROCESS: contextvars.ContextVar[Process] = contextvars.ContextVar("process")


class Process:
    """One run of a program.

    Attributes:
        alive: False once it was killed.
        asleep: whether it stands still.
    """

    def __init__(self, loop: SimLoop, name: str) -> None:
        self.name = name
        self.alive = True
        self.asleep = False
        self.context = contextvars.copy_context()
        self.context.run(_PROCESS.set, self)
        self._loop = loop
        self._held: list[_Call] = []
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._purge_at = 64

    def spawn(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run something in this process."""
        return self._loop.create_task(work, context=self.context)

    def own(self, task: asyncio.Task[Any]) -> None:
        """A task was started in it."""
        self._tasks[task] = None
        if len(self._tasks) > self._purge_at:
            self._tasks = {task: None for task in self._tasks if not task.done()}
            self._purge_at = 2 * len(self._tasks) + 64

    def hold(self, call: _Call) -> None:
        """Something was to run while it is asleep."""
        self._held.append(call)

    def sleep(self) -> None:
        """Stand still."""
        self.asleep = True

    def wake(self) -> None:
        """Go on."""
        self.asleep = False
        held, self._held = self._held, []
        self._loop.resume(held)

    def kill(self) -> None:
        """End it here and now."""
        self.alive = False
        self.wake()
        for task in self._tasks:
            task.cancel()


def current_process() -> Process | None:
    """The process in which the caller runs, or None for nature."""
    return _PROCESS.get(None)


class _Call(asyncio.TimerHandle):
    """A callback that waits to be run.

    What asyncio's handles are made of is not made: it would cost more than most callbacks do.

    Attributes:
        process: in which it runs, or None.
        over: whether it was cancelled.
        timed: whether it stands among the timers.
    """

    __slots__ = ("args", "callback", "context", "loop", "over", "process", "timed")

    def __init__(
        self,
        callback: Callable[..., object],
        args: tuple[Any, ...],
        loop: SimLoop,
        context: contextvars.Context | None,
        *,
        timed: bool,
    ) -> None:
        self.callback = callback
        self.args = args
        self.loop = loop
        self.context = contextvars.copy_context() if context is None else context
        self.process = self.context.get(_PROCESS)
        self.over = False
        self.timed = timed

    def cancel(self) -> None:
        """Do not run it."""
        if not self.over:
            self.over = True
            self.args = ()
            if self.timed:
                self.loop.timer_cancelled()

    def cancelled(self) -> bool:
        """Whether it will not be run."""
        return self.over


class SimLoop(asyncio.AbstractEventLoop):
    """An event loop on virtual time.

    Attributes:
        faults: what no task of the simulation caught: each is a bug, of production code or of the simulator.
    """

    def __init__(self) -> None:
        self.faults: list[str] = []
        self._now = 0.0
        self._ready: deque[_Call] = deque()
        self._timers: list[tuple[float, int, _Call]] = []
        self._timers_made = 0
        self._timers_cancelled = 0
        self._stopping = False
        self._running = False
        self._closed = False

    # -- running

    def run_until_complete(self, future: Any) -> Any:
        """Run until the future is done; what came of it."""
        made = not asyncio.isfuture(future)
        main = asyncio.ensure_future(future, loop=self)
        main.add_done_callback(lambda _: self.stop())
        self.run_forever()
        if not main.done():
            if made:
                main.cancel()
            raise RuntimeError("the loop was stopped before the future was done")
        return main.result()

    def run_forever(self) -> None:
        """Run until ``stop``."""
        asyncio.events._set_running_loop(self)  # noqa: SLF001 - a loop's own duty; there is no public name for it
        self._running, self._stopping = True, False
        try:
            while not self._stopping:
                self._round()
        finally:
            self._running = False
            asyncio.events._set_running_loop(None)  # noqa: SLF001 - as above

    def stop(self) -> None:
        """End ``run_forever`` after this round."""
        self._stopping = True

    def is_running(self) -> bool:
        """Whether it runs."""
        return self._running

    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed

    def close(self) -> None:
        """Forget everything."""
        self._closed = True
        self._ready.clear()
        self._timers.clear()

    async def shutdown_asyncgens(self) -> None:
        """None are kept."""

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109 - the base's signature
        """There is none."""

    def _round(self) -> None:
        ready = self._ready
        self._now += GRAIN_SECONDS
        if not ready:
            self._jump()
        timers = self._timers
        while timers and timers[0][0] <= self._now:
            call = heapq.heappop(timers)[2]
            call.timed = False
            if call.over:
                self._timers_cancelled -= 1
            else:
                ready.append(call)
        for _ in range(len(ready)):
            call = ready.popleft()
            process = call.process
            if process is not None and process.asleep:
                process.hold(call)
            elif not call.over:
                try:
                    call.context.run(call.callback, *call.args)
                except (SystemExit, KeyboardInterrupt):
                    raise
                except BaseException as error:  # noqa: BLE001 - as every loop: it is reported, and others go on
                    self._fault(call.callback, error)

    def _jump(self) -> None:
        """Nothing is to be done now: go on to the next timer."""
        timers = self._timers
        while timers and timers[0][2].over:
            heapq.heappop(timers)
            self._timers_cancelled -= 1
        if not timers:
            raise RuntimeError("the simulation stands still: nobody waits for anything that will come")
        self._now = max(self._now, timers[0][0])

    # -- callbacks

    def time(self) -> float:
        """Seconds since the beginning."""
        return self._now

    def resume(self, calls: list[_Call]) -> None:
        """Run what was held while its process slept."""
        self._ready.extend(calls)

    def run_in(self, process: Process, callback: Callable[[*Ts], object], *args: *Ts) -> None:
        """Now, from within a callback of nature: in another's process, unless that sleeps."""
        if process.asleep:
            self.call_soon(callback, *args, context=process.context)
            return
        try:
            process.context.run(callback, *args)
        except Exception as error:  # noqa: BLE001 - as any callback's: it is reported, and others go on
            self._fault(callback, error)

    def call_soon(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """In the next round."""
        call = _Call(callback, args, self, context, timed=False)
        self._ready.append(call)
        return call

    def call_soon_threadsafe(
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        """In the next round; there are no threads."""
        return self.call_soon(callback, *args, context=context)

    def call_later(
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """After some seconds."""
        return self.call_at(self._now + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """At a moment, rounded up to the next grain."""
        when = math.ceil(when / GRAIN_SECONDS) * GRAIN_SECONDS
        call = _Call(callback, args, self, context, timed=True)
        self._timers_made += 1
        heapq.heappush(self._timers, (when, self._timers_made, call))
        return call

    def timer_cancelled(self) -> None:
        """A timer will not be run; when most are dead, they are swept out."""
        self._timers_cancelled += 1
        if self._timers_cancelled > 1_000 and 2 * self._timers_cancelled > len(self._timers):
            self._timers = [timer for timer in self._timers if not timer[2].over]
            heapq.heapify(self._timers)
            self._timers_cancelled = 0

    # -- what is made of callbacks

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(  # type: ignore[override]  # the stubs allow generators, which nobody has had for years
        self, coro: Coroutine[Any, Any, T], *, name: str | None = None, context: contextvars.Context | None = None
    ) -> asyncio.Task[T]:
        """A task of this loop, and of the process that starts it."""
        task = asyncio.Task(coro, loop=self, name=name, context=context)
        process = _PROCESS.get(None) if context is None else context.get(_PROCESS)
        if process is not None:
            process.own(task)
        return task

    def run_in_executor(self, executor: object, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:  # noqa: ARG002 - the base's signature
        """Inline: there are no threads."""
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it belongs to whoever awaits the future
            future.set_exception(error)
        return future

    # -- what went wrong

    get_debug = bool
    """Never: it would make the run slower, not other.  Each future asks; a type answers sooner than a method."""

    def set_debug(self, enabled: bool) -> None:  # noqa: FBT001 - the base's signature
        """Nothing to set."""

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep it for the report."""
        self.call_exception_handler(context)

    def _fault(self, callback: object, error: BaseException) -> None:
        self.call_exception_handler({"message": f"in {callback}", "exception": error})

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Keep it for the report."""
        error = context.get("exception")
        self.faults.append(f"{context.get('message')}: {type(error).__name__}: {error}")
