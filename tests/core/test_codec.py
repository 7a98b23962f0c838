import json

import pytest

from aigrid.core import codec
from aigrid.core.errors import ConfigurationError
from aigrid.core.events import (
    DemandRow,
    DemandSeen,
    Heartbeat,
    PublishRoutes,
    ReplicaReport,
    ServiceDeployed,
    SetShare,
    SiteJoined,
    StartReplica,
    Tick,
)
from aigrid.core.routing import RoutingTable
from aigrid.core.site import Cell, Site

EXAMPLES = [
    SiteJoined(Site("t", "tower", "r", 35.1, 139.2, 1.5, 512, "h", (Cell("c", 1, 106),))),
    Heartbeat("t", 0.1 + 0.2, 1e-17, 3, 4, (ReplicaReport("chat", "d", "", "ready"),)),
    ServiceDeployed("chat", "sha256:1", 100, 0.5, ("north",)),
    DemandSeen((DemandRow("t", "chat", 3), DemandRow("*", "chat", 1))),
    SetShare("t", 0.5, 0.25, 60.0),
    Tick(),
    StartReplica("t", "chat", "sha256:1"),
]


@pytest.mark.parametrize("value", EXAMPLES, ids=lambda value: type(value).__name__)
def test_what_is_encoded_reads_back_the_same(value):
    assert codec.decode(json.loads(json.dumps(codec.encode(value))), "test") == value


def test_a_routing_table_reads_back_to_four_digits():
    table = RoutingTable.from_dict(
        {
            "origins": ["*"],
            "services": ["m"],
            "sites": ["a", "b"],
            "candidate": [[[1, 0]]],
            "weight": [[[0.66666, 0.33333]]],
        }
    )
    read = codec.decode(json.loads(json.dumps(codec.encode(PublishRoutes(7, table)))), "test")
    assert read.version == 7
    assert read.table.candidates("nowhere", "m") == [
        ("b", pytest.approx(0.6667)),
        ("a", pytest.approx(0.3333)),
    ]


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        ({"type": "Rumour"}, "Rumour"),
        (["not", "an", "object"], "None"),
        ({"type": "Heartbeat", "site": "t", "mood": 1}, "mood"),
        ({"type": "Heartbeat"}, "site"),
        ({"type": "Heartbeat", "site": 7}, "7"),
        ({"type": "Heartbeat", "site": "t", "radio_load": float("nan")}, "nan"),
        ({"type": "Heartbeat", "site": "t", "radio_load": 10**400}, "1000"),
        ({"type": "Heartbeat", "site": "t", "slots_missed": 2**63}, "9223372036854775808"),
        ({"type": "Heartbeat", "site": "t", "slots_missed": True}, "True"),
        ({"type": "Heartbeat", "site": "t", "replicas": [{"service": "s"}]}, "digest"),
        ({"type": "SiteJoined", "site": {"name": "x", "kind": "shed", "region": "r"}}, "shed"),
    ],
)
def test_what_cannot_be_is_refused_by_name_and_origin(raw, named):
    with pytest.raises(ConfigurationError) as caught:
        codec.decode(raw, "line 3")
    assert str(caught.value).startswith("line 3")
    assert named in str(caught.value)
