"""The address of a caller is what a trusted proxy says, and never what the caller says."""

import flask
import pytest
from pydantic import ValidationError

from shared_lib import settings
from shared_lib.web.access import read_address

CLIENT, FORGED = "203.0.113.9", "198.51.100.1"
INGRESS, ACTIVATOR, QUEUE = "10.4.0.7", "10.4.3.2", "127.0.0.1"


def read(trusted: str, forwarded: str, peer: str) -> str:
    http = settings.Http.model_validate({"trusted_proxies": trusted} if trusted else {})
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    with flask.Flask("test").test_request_context(headers=headers, environ_base={"REMOTE_ADDR": peer}):
        return read_address(flask.request, http)


@pytest.mark.parametrize("forged", ["", f"{FORGED}, ", f"{FORGED}, 10.4.0.7, ", "no address, "])
@pytest.mark.parametrize(
    ("trusted", "forwarded", "peer"),
    [
        # `make run`: the front door adds the client. With a proxy of one's own before it, there are two.
        ("1", CLIENT, CLIENT),
        ("2", f"{CLIENT}, {QUEUE}", QUEUE),
        # Compose: nginx sets the client, and is the function's peer.
        ("1", CLIENT, "172.18.0.5"),
        # A cluster: the gateway, Knative's activator only while a function has few pods, and its queue-proxy.
        ("", f"{CLIENT}, {INGRESS}", QUEUE),
        ("", f"{CLIENT}, {INGRESS}, {ACTIVATOR}", QUEUE),
        ("", f"{CLIENT}, fd00::7, {ACTIVATOR}", "::1"),
        ("10.4.0.0/16,127.0.0.0/8", f"{CLIENT}, {INGRESS}, {ACTIVATOR}", QUEUE),
        ("10.4.0.0/16,127.0.0.0/8", f"10.9.1.1, {INGRESS}", QUEUE),  # a client in a private network
    ],
)
def test_a_caller_cannot_choose_its_address(trusted: str, forwarded: str, peer: str, forged: str) -> None:
    assert read(trusted, forged + forwarded, peer) == ("10.9.1.1" if "10.9.1.1" in forwarded else CLIENT)


def test_nothing_is_believed_where_no_proxy_is_trusted() -> None:
    assert read("0", f"{FORGED}, {FORGED}", CLIENT) == CLIENT


def test_a_caller_who_goes_round_the_proxies_is_its_own_peer() -> None:
    assert read("2", FORGED, CLIENT) == CLIENT
    assert read("", FORGED, CLIENT) == CLIENT
    assert read("", "", INGRESS) == INGRESS


@pytest.mark.parametrize("text", ["-1", "ten", "10.0.0.0/40", "10.0.0.0/8,x"])
def test_a_wrong_setting_is_refused_with_what_it_should_be(text: str) -> None:
    with pytest.raises(ValidationError, match="a number of proxies, or networks such as"):
        read(text, "", CLIENT)
