"""Every word of the page, by language; a translation is one more dictionary with the same keys."""

from __future__ import annotations

ENGLISH = {
    "title": "Rehearsal",
    "lead": "A day of a country's radio and AI, rehearsed with the orchestrator that runs it.",
    "sites": "sites",
    "customers": "customers",
    "simulated": "simulated",
    "took": "wall time",
    "memory": "peak memory",
    "policies": "policies",
    "verdict": "Verdict",
    "kept": "kept",
    "broken": "not kept",
    "remark": "remark",
    "compare": "Policies compared",
    "compare_lead": "The same sites, demand and chance for each policy; only the decision differs.",
    "policy": "policy",
    "best": "best of its column",
    "over": "over the radio's limit",
    "notes": "Notes",
    "all": "all policies",
    "map": "Map",
    "map_lead": "Each bubble is a region; its area shows customers, its colour the figure chosen. "
    "Neighbours are moved apart so that none covers another.",
    "map_plain": "Each bubble is a region, its colour the figure chosen. "
    "Neighbours are moved apart so that none covers another.",
    "figure": "figure",
    "region": "region",
    "map_all": "All regions as a table",
    "low_end": "least",
    "high_end": "most",
    "day": "Over the day",
    "day_lead": "Means over the country, minute by minute. Choose policies; point at a chart to "
    "read values.",
    "more": "More over the day",
    "tails": "Request by request",
    "tails_lead": "Every request was simulated, not flows of them: tails are those of requests, "
    "with the bursts that a minute's mean hides.",
    "service": "service",
    "spread": "Time to first token",
    "spread_lead": "Part of the served requests answered within a time, from the user's device "
    "and back. The dashed line is what the service promises.",
    "token_spread": "Time per output token",
    "money": "Money",
    "money_lead": "Two readings of the same day, a year long. Whole site: all capital, energy "
    "and upkeep against AI and radio revenue. Marginal: the site stands anyway, and AI pays for "
    "what it adds. Public claims use one or the other.",
    "whole_site": "Whole site",
    "marginal": "Marginal",
    "line": "a year",
    "published": "Published results beside ours",
    "published_lead": "Inputs as published, nothing tuned to meet a figure.",
    "result": "result",
    "theirs": "published",
    "ours": "ours",
    "difference": "difference",
    "why": "why they differ",
    "doubt": "Where distance matters",
    "doubt_lead": "The round trip's part of the time to first token at the factory, with nobody "
    "else there: the case in which distance matters most. Second line: what the tower's own device "
    "would win (+) or lose (−) against the factory.",
    "doubt_facts": "Customers stand {km} km from their factory on average, {trip} ms there and "
    "back. Factory: one {factory}; tower: one {tower}.",
    "no_fit": "does not fit",
    "not_at_tower": "tower: no room",
    "model": "model",
    "prompt": "prompt tokens",
    "inputs": "Inputs and sources",
    "inputs_lead": "All parameters of this rehearsal. An assumption is called one.",
    "parameter": "parameter",
    "value": "value",
    "source": "source",
    "no_source": "scenario file",
    "repeat": "Repeat it",
    "repeat_lead": "The same commit, scenario and seed give the same trace, byte for byte.",
    "commit": "commit",
    "scenario": "scenario",
    "seed": "seed",
    "command": "command",
    "trace": "trace SHA-256",
    "meaning": "What the columns mean",
    "made_by": "Written by aigrid. This page needs no network.",
}
WORDS = {"en": ENGLISH}

# What the columns mean, for the page and `docs/HOW-THE-TWIN-WORKS.md`.
MEANINGS = {
    "radio_miss_rate": "slots that missed their deadline, of all slots of all towers",
    "slo_attainment": "requests answered within the TTFT and TPOT promised, of all that came; a "
    "refused one counts as missed",
    "utilisation_mean": "compute busy with radio or AI, of all compute of all sites",
    "utilisation_radio_only": "compute that the radio alone keeps busy, of the towers' compute",
    "idle_reclaimed": "compute given to AI, of the towers' compute that the radio left idle",
    "tokens_per_s_mean": "prompt and generated tokens of served requests, mean over the day",
    "requests": "that came: served, refused, or in flight at the end",
    "served": "requests answered",
    "refused": "requests that no candidate site took",
    "ttft_ms_p50": "half of the served requests had their first token sooner, from the user's "
    "device and back",
    "ttft_ms_p99": "99% of the served requests had their first token sooner",
    "energy_kwh": "of all sites over the minutes simulated, cooling included (PUE)",
    "cost_per_mtok": "capital, upkeep and energy of whole sites for a million tokens served",
    "revenue_per_capex": "AI revenue over the capital's life for a dollar of capital, whole sites",
}

# Series over the day: title, and how a value is spelt. What is no such series stands under `more`.
SERIES = {
    "radio": ("Radio: busy compute", "share"),
    "ai": ("AI: busy compute", "share"),
    "utilisation": ("Radio and AI: busy compute", "share"),
    "share_mean": ("Compute that AI may use", "share"),
    "tokens_per_s": ("Tokens a second", "count"),
    "requests_per_s": ("Requests a second", "count"),
    "refused_per_s": ("Refused requests a second", "count"),
    "ttft_ms_p99": ("TTFT p99, ms", "count"),
}
MORE_SERIES = {
    "radio_miss": ("Slots missed, of all", "share"),
    "ttft_ms_p50": ("TTFT p50, ms", "count"),
    "in_line": ("Requests in line", "count"),
    "ai_work": ("AI: compute that its work needs", "share"),
    "link_load_max": ("Load of the busiest hub link", "share"),
}

# Figures by region that are no columns of the table.
REGION_FIGURES = {
    "utilisation": "busy (of compute)",
    "share_mean": "AI may use (of compute)",
    "served": "served (of requests)",
    "tokens_per_s": "tokens (a second)",
}

MONEY = {
    "capital_usd": "capital, once",
    "capital_a_year_usd": "capital written off, and upkeep",
    "energy_usd": "energy",
    "ai_revenue_usd": "AI revenue",
    "radio_revenue_usd": "radio revenue",
    "cost_per_mtok_usd": "cost of a million tokens",
    "revenue_per_capital": "AI revenue over life, a $ of capital",
    "return_on_capital": "return on capital over its life",
}
