"""The jobs of a simulated site: some take steps and share the speed, the rest stand in line."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

from aigrid.twin.simulation import Simulation

# Work is in tokens; this little of it is none.
_NOTHING = 1e-6


@dataclass(slots=True, eq=False)
class Job:
    """One generation.

    Attributes:
        service: that it belongs to.
        first_work: work until the first token is out, in made tokens.
        total_work: work until the end.
        on_end: called once when all is done.
        done_work: so far.
        prompt_tokens: of the prompt.
        tokens: to make.
        first_s: when the first token was out; -1 where nobody noted it.
    """

    service: str
    first_work: float
    total_work: float
    on_end: Callable[[], None]
    done_work: float = 0.0
    prompt_tokens: int = 0
    tokens: int = 0
    first_s: float = -1.0

    @property
    def has_begun(self) -> bool:
        """Whether the first token is out."""
        return self.done_work >= self.first_work - _NOTHING

    @property
    def made(self) -> int:
        """Tokens that are out."""
        if not self.has_begun:
            return 0
        rest = self.total_work - self.first_work
        part = (self.done_work - self.first_work) / rest if rest > 0.0 else 1.0
        return min(self.tokens, 1 + int(part * (self.tokens - 1) + _NOTHING))


class JobLine:
    """Processor sharing with a limit a job, in front of it a line: first come, first served.

    Args:
        simulation: the clock.
        places: jobs that take steps at once.
        job_speed: work a second for one job, at most.
    """

    def __init__(self, simulation: Simulation, places: int, job_speed: float) -> None:
        self._simulation = simulation
        self._places, self._job_speed = places, job_speed
        self.speed, self.slowness = 0.0, 1.0
        self.running: list[Job] = []
        self.waiting: deque[Job] = deque()
        self.work_done: defaultdict[str, float] = defaultdict(float)
        self.jobs_done: defaultdict[str, int] = defaultdict(int)
        self._at_s = 0.0
        self._plan = 0

    def add(self, job: Job) -> None:
        """Take a job in, at the end of the line."""
        self._advance()
        self.waiting.append(job)
        self._settle()

    def set_speed(self, speed: float) -> None:
        """Share out this much work a second from now on; 0 pauses everybody."""
        self._advance()
        self.speed = speed
        self._settle()

    def set_slowness(self, slowness: float) -> None:
        """Everything takes so many times longer from now on."""
        self._advance()
        self.slowness = slowness
        self._settle()

    def cancel(self, job: Job) -> None:
        """Forget one job: nobody waits for it any more."""
        self._advance()
        self.running = [one for one in self.running if one is not job]
        self.waiting = deque(one for one in self.waiting if one is not job)
        self._settle()

    def clear(self) -> None:
        """Forget every job: its process died."""
        self._advance()
        self.running, self.waiting = [], deque()
        self._settle()

    def count(self, service: str) -> tuple[int, int]:
        """Jobs of a service that run, and that wait."""
        return (
            sum(job.service == service for job in self.running),
            sum(job.service == service for job in self.waiting),
        )

    def done(self, service: str) -> tuple[float, int]:
        """Work done and jobs ended of a service so far."""
        return self.work_done[service], self.jobs_done[service]

    def look(self) -> None:
        """Bring counters and progress up to now."""
        self._advance()

    def rate(self) -> float:
        """Work a second of all jobs together, now."""
        return self._each() * len(self.running)

    def _each(self) -> float:
        """Work a second of every running job."""
        return min(self._job_speed, self.speed / max(1, len(self.running))) / self.slowness

    def _advance(self) -> None:
        now_s = self._simulation.now_s
        work = self._each() * (now_s - self._at_s)
        self._at_s = now_s
        for job in self.running:
            self.work_done[job.service] += min(work, job.total_work - job.done_work)
            job.done_work += work
            if job.first_s < 0.0 and work > 0.0 and job.has_begun:
                job.first_s = now_s - (job.done_work - job.first_work) / self._each()

    def _settle(self) -> None:
        """Let go who is done, let in who waits, and plan when to look again."""
        ended = [job for job in self.running if job.done_work >= job.total_work - _NOTHING]
        self.running = [job for job in self.running if job not in ended]
        while self.waiting and len(self.running) < self._places:
            self.running.append(self.waiting.popleft())
        self._plan += 1
        if self.running and self._each() > 0.0:
            left = min(job.total_work - job.done_work for job in self.running)
            self._look_again(max(left, 0.0) / self._each(), self._plan)
        for job in ended:
            self.jobs_done[job.service] += 1
            job.on_end()

    def _look_again(self, delay_s: float, plan: int) -> None:
        def look() -> None:
            if plan == self._plan:
                self._advance()
                self._settle()

        self._simulation.after(delay_s, look)
