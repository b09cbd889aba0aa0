"""Run every KafkaSource and PingSource in one process: `python -m infra.local.eventing PLAN`.

It also receives the bucket notifications of the embedded store.
"""

import logging
import os
import queue
import secrets
import signal
import sys
import threading
import time

from infra.local.event_report import Report
from infra.local.kafka_source import KafkaSourceRunner
from infra.local.manifests import KafkaSource, Manifests
from infra.local.notifications import Receiver
from infra.local.ping_source import PingSourceRunner
from infra.local.plan import Plan
from infra.local.settings import Settings

log = logging.getLogger(__name__)

GRACE_SECONDS = 3.0  # for current requests when stopping


def _end_process(failed: threading.ExceptHookArgs) -> None:
    log.critical("%s failed", failed.thread and failed.thread.name, exc_info=failed.exc_value)
    os._exit(1)  # not sys.exit, which would wait for the other threads


def _runner(plan: Plan, source: KafkaSource) -> KafkaSourceRunner:
    dead_letter_sink = source.spec.delivery.dead_letter_sink
    return KafkaSourceRunner(
        source,
        plan.bootstrap_servers,
        sink=plan.address(source.spec.sink),
        dead_letter_sink=plan.address(dead_letter_sink) if dead_letter_sink else None,
    )


def main(plan: Plan) -> None:
    """Run until stopped by a signal. If a thread fails the process exits, and the supervisor restarts it."""
    threading.excepthook = _end_process
    signals: queue.SimpleQueue[int] = queue.SimpleQueue()
    signal.signal(signal.SIGTERM, lambda number, _frame: signals.put(number))
    manifests = Manifests.read(plan.manifests)
    token = Settings.from_environment().webhook_token or secrets.token_urlsafe()  # unknown to all callers
    stopping = threading.Event()
    kafka_runners = [_runner(plan, source) for source in manifests.kafka_sources]
    pings = [PingSourceRunner(source, plan.address(source.spec.sink), stopping) for source in manifests.ping_sources]

    def report() -> Report:
        consumers = [each for runner in kafka_runners for each in runner.consumers]
        hanging = [each.name for each in consumers if each.is_stuck] + [each.name for each in pings if each.is_late]
        return Report(
            stuck=[f"{name} hangs" for name in hanging],
            kafka=[f"{each.name}: {each.fault}" for each in consumers if each.fault],
        )

    receiver = Receiver(plan.webhook_port, plan.bootstrap_servers, token, report)
    threading.Thread(target=receiver.serve_forever, daemon=True, name="webhook").start()
    for runner in kafka_runners:
        runner.start()
    for ping in pings:
        ping.start()
    signals.get()
    stopping.set()
    receiver.server_close()
    for runner in kafka_runners:
        runner.stop(GRACE_SECONDS)


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s.%(msecs)03dZ [%(levelname)-9s] %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
        stream=sys.stdout,
    )
    logging.Formatter.converter = time.gmtime  # like the functions' log lines
    logging.getLogger("kafka").setLevel(logging.ERROR)  # several lines for each of ours
    main(Plan.model_validate_json(sys.argv[1]))
