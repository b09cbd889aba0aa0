"""The plan of the event sources. It is a module of its own so that the supervisor need not load Kafka's client."""

from collections.abc import Mapping
from pathlib import Path

from pydantic import BaseModel

from infra.local.manifests import Destination


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
