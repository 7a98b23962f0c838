"""A site in numbers, for Prometheus; read when it asks."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import (
    CollectorRegistry,
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)

from aigrid.live import metrics
from aigrid.live.site_agent import SiteAgent


def registry_of(agent: SiteAgent) -> CollectorRegistry:
    """What a site tells."""
    registry = metrics.registry("site")
    registry.register(_SiteCollector(agent))
    return registry


class _SiteCollector:
    """Reads gauges and counters when Prometheus asks."""

    def __init__(self, agent: SiteAgent) -> None:
        self._agent = agent

    def collect(self) -> Iterator[Metric]:
        """Replica load, radio slots, and the share."""
        replicas = self._agent.replicas
        running = GaugeMetricFamily("aigrid_running", "Jobs that take steps", labels=["service"])
        waiting = GaugeMetricFamily("aigrid_waiting", "Jobs in line", labels=["service"])
        tokens = CounterMetricFamily("aigrid_tokens", "Tokens made", labels=["service"])
        jobs = CounterMetricFamily("aigrid_jobs", "Jobs ended", labels=["service"])
        prompts = CounterMetricFamily("aigrid_prompt_tokens", "Tokens read", labels=["service"])
        spent = CounterMetricFamily(
            "aigrid_engine_seconds", "Where its time went", labels=["service", "phase"]
        )
        steps = CounterMetricFamily("aigrid_engine_steps", "Decode steps", labels=["service"])
        for name, replica in replicas.serving.items():
            load = replica.engine.load()
            running.add_metric([name], load.running)
            waiting.add_metric([name], load.waiting)
            tokens.add_metric([name], load.tokens_total)
            jobs.add_metric([name], load.jobs_total)
            prompts.add_metric([name], load.prompt_tokens_total)
            times = load.times
            for phase, spent_s in (
                ("prefill", times.fill_s),
                ("decode", times.decode_s),
                ("paused", times.paused_s),
            ):
                spent.add_metric([name, phase], spent_s)
            steps.add_metric([name], times.steps)
        yield from (running, waiting, tokens, jobs, prompts, spent, steps)
        yield GaugeMetricFamily("aigrid_ai_share", "Compute that AI may use", replicas.share)
        if self._agent.site.cells:
            beat = self._agent.radio_beat()
            yield GaugeMetricFamily("aigrid_radio_load", "PRB utilisation", beat.load)
            yield GaugeMetricFamily("aigrid_radio_need_cores", "Radio compute", beat.need_cores)
            slots = CounterMetricFamily("aigrid_radio_slots", "Slots", labels=["outcome"])
            slots.add_metric(["on_time"], beat.slots_on_time)
            slots.add_metric(["missed"], beat.slots_missed)
            yield slots
