"""A small scenario with a table of each kind, made up: to look at, and to change."""

from __future__ import annotations

import json

import numpy as np
from numpy.typing import NDArray

from aigrid.radio.profile import DAILY_SHAPES

EXAMPLE = "example.yaml"
TOWERS = 24
CHAT_REQUESTS, VOICE_REQUESTS = 1_200, 400
DAY_S, STEP_MIN = 86_400, 15
_SEED = 20_261_124
_HOME, _OFFICE = DAILY_SHAPES["home"], DAILY_SHAPES["office"]

_YAML = """\
# One day of a small network of my own: 1 factory, 2 hubs and 24 towers.
#
#   aigrid scenario check example.yaml      what is wrong with it, line by line
#   aigrid rehearse example.yaml            a day of it under each policy, and a report
#
# The tables beside it are made up. Put yours in their place; docs/SCENARIOS.md has every column.
name: example

# Where sites stand, what they have, and who stands under them.
sites:
  file: sites.csv
  hub_devices: 2 # of a hub whose row does not say
  factory_devices: 8 # of a factory whose row does not say
  # My table has other names, or columns that are not for aigrid?
  # columns: {latitude_deg: LAT, longitude_deg: LON}
  # ignore: [vendor]

# How busy cells are: the row `08:15,tower-1,0.159` has 15.9% of resource blocks in use.
radio_load: radio_load.csv

# Computers of towers, hubs and factories: names of the sheet (l4, l40s, h100, b200, ...).
devices: [l4, h100, h100]

# For towers without rows in radio_load.csv.
radio_shapes: [home, office, transport, night]

# What a cell's processing needs, in devices. See docs/HOW-THE-TWIN-WORKS.md.
radio:
  slot_ms: 0.5 # 30 kHz sub-carriers
  deadline_ms: 0.5 # a slot must be done by then
  fixed: 0.03 # an empty cell keeps 3% of a device busy
  per_load: 0.25 # a full one 25% more
  burstiness: 0.8 # 1: slots are full or empty; 0: all alike
  spread: 0.6 # of the logarithm of load around its day, minute by minute
  memory: 0.965 # of that, from one minute to the next
  headroom: 0.1 # towers that state no devices are sized for full cells, and this on top

# Delays between a phone and a site.
path:
  radio_ms: 8.0
  router_ms: 0.3
  fibre_us_per_km: 4.9
  detour: 1.4 # cables are longer than the crow flies
  hub_gbit_per_s: 100.0
  background: 0.4 # of a hub's link, taken by other traffic
  bytes_per_token: 6.0

money:
  usd_per_kwh: 0.17
  pue: 1.3
  life_years: 5.0
  upkeep: 0.05 # of the capital, a year
  radio_only_tower_usd: 2000.0 # a tower's computer that does no AI
  radio_usd_per_customer_year: 300.0

policies: [aigrid, nearest, central-only]

services:
  # A chat with a model of 8 billion weights. Its trace covers a day, so that it says how long
  # prompts and answers are, and how many requests come when.
  - name: chat
    trace: chat.csv
    requests_per_customer_day: 4 # the trace is a sample; leave this out if it has all requests
    parameters: 8.0e+9
    memory_parameters: 8.0e+9
    bytes_per_weight: 1.0
    kv_bytes_per_token: 65536
    shared_prefix_tokens: 400 # of a prompt, that the site still has from earlier requests
    residency: 0.5 # chance that it does
    ttft_slo_ms: 1000 # promised: first token
    tpot_slo_ms: 60 # promised: each further one
    usd_per_m_prompt_tokens: 0.05
    usd_per_m_generated_tokens: 0.15

  # A voice assistant of 1 billion weights. Its trace names the blocks of each prompt, so that it
  # also says how much prompts share; it is an hour long, so that the shape of the day is named.
  - name: voice
    trace: voice.jsonl
    shape: conversation
    requests_per_customer_day: 8
    parameters: 1.0e+9
    memory_parameters: 1.0e+9
    bytes_per_weight: 1.0
    kv_bytes_per_token: 32768
    residency: 0.5
    ttft_slo_ms: 150
    tpot_slo_ms: 40
    usd_per_m_prompt_tokens: 0.05
    usd_per_m_generated_tokens: 0.10

sources:
  radio: need of a cell and burstiness are assumptions to vary
  demand: requests a customer and day, prices and promises are assumptions to vary
  money: assumptions to vary
"""


def example_files() -> dict[str, str]:
    """Name of each file to its text; the same every time."""
    rng = np.random.default_rng(_SEED)
    return {
        EXAMPLE: _YAML,
        "sites.csv": _sites(rng),
        "radio_load.csv": _load(rng),
        "chat.csv": _chat(rng),
        "voice.jsonl": _voice(rng),
    }


def _day(shape: tuple[tuple[float, float], ...], hours: NDArray[np.float64]) -> NDArray[np.float64]:
    at, share = np.array(shape).T
    found: NDArray[np.float64] = np.interp(hours, at, share, period=24.0)
    return found


def _sites(rng: np.random.Generator) -> str:
    lines = [
        "name,kind,latitude_deg,longitude_deg,region,parent,devices,cells,customers",
        "factory-1,factory,35.447,139.642,JP-14,,,,",
        "hub-1,hub,35.466,139.622,JP-14,factory-1,,,",
        "hub-2,hub,35.531,139.697,JP-14,factory-1,,,",
    ]
    for number in range(1, TOWERS + 1):
        hub = 1 + (number > TOWERS // 2)
        middle = ((35.466, 139.622), (35.531, 139.697))[hub - 1]
        north, east = rng.normal(0.0, 0.02, 2)
        cells, customers = int(rng.choice([1, 3, 3, 6])), int(rng.integers(100, 500))
        place = f"{middle[0] + north:.4f},{middle[1] + east:.4f}"
        lines.append(f"tower-{number},tower,{place},JP-14,hub-{hub},,{cells},{customers}")
    return "\n".join(lines) + "\n"


def _load(rng: np.random.Generator) -> str:
    lines = ["time,site,load"]
    hours = np.arange(0.0, 24.0, STEP_MIN / 60.0)
    for number in range(1, TOWERS + 1):
        shape = _OFFICE if number % 3 == 0 else _HOME
        usual = _day(shape, hours)
        load = rng.uniform(0.2, 0.5) * usual * np.exp(rng.normal(0.0, 0.1, len(hours)))
        for hour, value in zip(hours, load, strict=True):
            clock = f"{int(hour):02d}:{int(hour % 1 * 60):02d}"
            lines.append(f"{clock},tower-{number},{min(value, 1.0):.3f}")
    return "\n".join(lines) + "\n"


def _chat(rng: np.random.Generator) -> str:
    usual = _day(_HOME, np.arange(1440) / 60.0)
    minute = np.sort(rng.choice(1440, CHAT_REQUESTS - 2, p=usual / usual.sum()))
    at_s = [0.0, *np.sort(minute * 60.0 + rng.uniform(0.0, 60.0, len(minute))), DAY_S - 1.0]
    prompt = np.rint(np.clip(rng.lognormal(6.3, 0.9, len(at_s)), 10, 8000)).astype(int)
    answer = np.rint(np.clip(rng.lognormal(5.0, 0.7, len(at_s)), 1, 1500)).astype(int)
    lines = ["TIMESTAMP,ContextTokens,GeneratedTokens"]
    for t, p, g in zip(at_s, prompt, answer, strict=True):
        minutes, seconds = divmod(int(t * 10), 600)
        clock = f"{minutes // 60:02d}:{minutes % 60:02d}:{seconds / 10:04.1f}"
        lines.append(f"2026-11-24 {clock},{p},{g}")
    return "\n".join(lines) + "\n"


def _voice(rng: np.random.Generator) -> str:
    """Sessions that go on: each request has the blocks of the one before and, at times, a new."""
    lines, sessions, block = [], [[1]], 1
    for number in range(VOICE_REQUESTS):
        if rng.random() < 0.3:
            block += 1
            sessions.append([1, block])
        session = sessions[int(rng.integers(max(len(sessions) - 20, 0), len(sessions)))]
        if rng.random() < 0.2 and len(session) < 6:
            block += 1
            session.append(block)
        tokens = 512 * (len(session) - 1) + int(rng.integers(1, 512))
        request = {
            "timestamp": int(number * 3_600_000 / (VOICE_REQUESTS - 1)),
            "input_length": tokens,
            "output_length": int(rng.integers(20, 120)),
            "hash_ids": session,
        }
        lines.append(json.dumps(request))
    return "\n".join(lines) + "\n"
