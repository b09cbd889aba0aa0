"""infra/services/kafka-acls grants each component the topics that it uses, and no others."""

import os
import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from deploy.cluster import of_kind, overlay
from service import ROOT

from shared_lib import events
from shared_lib.broker.client import CANARY

PROGRAM = ROOT / "infra/services/kafka-acls"


@pytest.fixture
def granted(tmp_path: Path) -> dict[tuple[str, str], set[str]]:
    """Run it with a `kafka-acls.sh` that writes down what it is asked. Return operations by user and resource."""
    log = tmp_path / "asked"
    tool = tmp_path / "kafka-acls.sh"
    tool.write_text(f'#!/bin/sh\necho "$*" >> {log}\n')
    tool.chmod(0o755)
    environ = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run([PROGRAM, "kafka:9096", "admin.properties"], env=environ, check=True)

    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for line in log.read_text().splitlines():
        assert line.startswith("--bootstrap-server kafka:9096 --command-config admin.properties --add ")
        [user] = re.findall(r"--allow-principal User:([\w-]+)", line)
        for resource in re.findall(r"--(?:topic|group) ([\w-]+)", line):
            found[user, resource] |= set(re.findall(r"--operation (\w+)", line))
    return dict(found)


def test_each_topic_is_written_by_those_who_publish_to_it(granted: dict[tuple[str, str], set[str]]) -> None:
    writers = {key for key, operations in granted.items() if "Write" in operations}

    assert writers == {
        ("api", events.ProcessingRequested.topic),
        ("api", CANARY),
        ("delivery", events.ProcessingRequested.topic),
        ("worker", events.ProcessingRequested.topic),
        ("worker", events.ProcessingSucceeded.topic),
        ("store", "bucket-events"),
    }


def test_the_event_source_reads_what_it_names_and_nobody_else_reads(granted: dict[tuple[str, str], set[str]]) -> None:
    spec = of_kind(overlay("production"), "KafkaSource")["image-work"]["spec"]
    readers = {key for key, operations in granted.items() if "Read" in operations}

    assert readers == {("event-source", each) for each in (*spec["topics"], spec["consumerGroup"])}


def test_report_state_may_see_how_far_the_event_source_is(granted: dict[tuple[str, str], set[str]]) -> None:
    spec = of_kind(overlay("production"), "KafkaSource")["image-work"]["spec"]

    assert (events.GROUP, set(events.CONSUMED)) == (spec["consumerGroup"], set(spec["topics"]))
    assert all("Describe" in granted["api", each] for each in (events.GROUP, *events.CONSUMED))


def test_only_bootstrap_creates_topics_and_knows_all(granted: dict[tuple[str, str], set[str]]) -> None:
    creators = {key for key, operations in granted.items() if {"Create", "AlterConfigs"} & operations}

    assert creators == {("bootstrap", each) for each in (*events.TOPICS, CANARY)}
