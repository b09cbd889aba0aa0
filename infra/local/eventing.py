"""The process that gives the functions behind the scenes their work: every KafkaSource and PingSource.

And, for the embedded store, its bucket notifications. Started as `python -m infra.local.eventing PLAN`.
"""

import logging
import os
import queue
import secrets
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from infra.local.kafka_source import Consumption
from infra.local.manifests import Destination, KafkaSource, Manifests
from infra.local.notifications import Receiver
from infra.local.ping_source import Pinging
from infra.local.settings import Settings

log = logging.getLogger(__name__)

PATIENCE_SECONDS = 3.0  # for requests being made when asked to stop


class Plan(BaseModel):
    manifests: Path
    bootstrap_servers: str
    service_url: str = ""
    """Address of every function that `services` does not have. `{name}` stands for the name of its Service."""
    services: Mapping[str, str] = {}
    """Addresses of functions, by the names of their Services."""
    webhook_port: int

    def address(self, destination: Destination) -> str:
        name = destination.ref.name
        return self.services.get(name, self.service_url.format(name=name)) + destination.uri


def _end_process(failed: threading.ExceptHookArgs) -> None:
    log.critical("%s failed", failed.thread and failed.thread.name, exc_info=failed.exc_value)
    os._exit(1)  # not sys.exit, which would wait for the other threads


def _consumption(plan: Plan, source: KafkaSource) -> Consumption:
    dead_letter_sink = source.spec.delivery.dead_letter_sink
    return Consumption(
        source,
        plan.bootstrap_servers,
        sink=plan.address(source.spec.sink),
        dead_letter_sink=plan.address(dead_letter_sink) if dead_letter_sink else None,
    )


def main(plan: Plan) -> None:
    """Run until asked to stop. A thread that fails takes the process with it, which is then started again."""
    threading.excepthook = _end_process
    asked: queue.SimpleQueue[int] = queue.SimpleQueue()
    signal.signal(signal.SIGTERM, lambda number, _frame: asked.put(number))
    manifests = Manifests.read(plan.manifests)
    token = Settings.from_environment().webhook_token or secrets.token_urlsafe()  # where none was told, nobody has it
    receiver = Receiver(plan.webhook_port, plan.bootstrap_servers, token)
    threading.Thread(target=receiver.serve_forever, daemon=True, name="webhook").start()
    stopping = threading.Event()
    consumptions = [_consumption(plan, source) for source in manifests.kafka_sources]
    pings = [Pinging(source, plan.address(source.spec.sink), stopping) for source in manifests.ping_sources]
    for consumption in consumptions:
        consumption.start()
    for ping in pings:
        ping.start()
    asked.get()
    stopping.set()
    receiver.server_close()
    for consumption in consumptions:
        consumption.stop(PATIENCE_SECONDS)


if __name__ == "__main__":
    logging.basicConfig(
        level=logging.INFO,
        format="%(asctime)s.%(msecs)03dZ [%(levelname)-9s] %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
        stream=sys.stdout,
    )
    logging.Formatter.converter = time.gmtime  # as the functions' own lines
    logging.getLogger("kafka").setLevel(logging.ERROR)  # says in many lines what ours say in one
    main(Plan.model_validate_json(sys.argv[1]))
