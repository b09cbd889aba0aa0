"""Modules that a process loads, and settings that it accepts, when it starts."""

import json
import re
import socket
import subprocess
import sys
from contextlib import suppress

import pytest
from raw_http import exchange
from service import ENVIRONMENT, ROOT, Platform, find_free_port, wait_for

# Loads a function, lets a caller in without credentials and one with an API key, and then one with a token.
PROGRAM = """
import sys
import functions_framework
from shared_lib.domain.api_keys import ApiKeyText
client = functions_framework.create_app("main", "functions/list_collections/main.py").test_client()
def slow():
    return [name for name in ("jwt", "cryptography", "shared_lib.issuers") if name in sys.modules]
assert slow() == [], slow()
print(client.get("/api/v1/collections").status_code)
print(client.get("/api/v1/collections", headers={"X-API-Key": f"{ApiKeyText.generate()}"}).status_code)
print(client.get("/api/v1/collections", headers={"Authorization": "Bearer a.b.c"}).status_code)
assert slow() == [], slow()
"""


def test_callers_without_a_token_do_not_pay_for_the_libraries_of_tokens(platform: Platform) -> None:
    environ = ENVIRONMENT | platform.environment
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )

    assert done.stdout.split() == ["200", "401", "401"], done.stderr


# Loads a function that reads the database, and has it answer.
READER = """
import sys
import functions_framework
client = functions_framework.create_app("main", "functions/get_image/main.py").test_client()
print(client.get("/api/v1/images/0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11").status_code)
print([name for name in ("urllib3", "botocore", "kafka", "alembic", "PIL", "pyvips", "shared_lib.pipeline.operations",
    "shared_lib.services.reconciliation", "shared_lib.web.openapi") if name in sys.modules])
"""


def test_a_function_that_reads_the_database_loads_no_client_of_the_store_or_kafka_and_no_recipes(
    platform: Platform,
) -> None:
    environ = ENVIRONMENT | platform.environment
    done = subprocess.run(
        [sys.executable, "-c", READER], cwd=ROOT, env=environ, capture_output=True, text=True, check=False
    )

    assert done.stdout.split() == ["404", "[]"], done.stderr


def accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.mark.parametrize(
    ("variables", "starts"),
    [
        ({"AUTH_MODE": "anonymous"}, False),
        ({"AUTH_MODE": "anonymous", "HTTP_PUBLIC_BASE_URL": "https://images.example.com"}, False),
        ({"AUTH_MODE": "anonymous", "HTTP_PUBLIC_BASE_URL": "http://localhost:5000"}, True),  # under Compose
        ({"AUTH_MODE": "anonymous", "HOST": "127.0.0.1"}, True),
        ({"AUTH_MODE": "required"}, True),
        ({"AUTH_MODE": ""}, True),
    ],
    ids=str,
)
def test_anonymous_callers_are_for_one_machine_only(
    platform: Platform, variables: dict[str, str], starts: bool
) -> None:
    port = find_free_port()
    environ = ENVIRONMENT | platform.environment | {"PORT": f"{port}", "FUNCTION_TARGET": "main"}
    environ |= {"FUNCTION_SOURCE": f"{ROOT / 'functions/list_collections/main.py'}"} | variables
    with subprocess.Popen(
        [sys.executable, "-m", "shared_lib.server"], cwd=ROOT, env=environ, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_for(lambda: process.poll() is not None or accepts(port), bool, 90)
        process.terminate()
        assert process.stderr
        last = process.stderr.read().splitlines()[-1:]

    assert (process.returncode == 0) == starts, last
    if not starts:
        assert "AUTH_MODE=anonymous is only for one machine" in last[0]


def test_a_port_in_use_is_the_reason_that_is_logged_last(platform: Platform) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environ = ENVIRONMENT | platform.environment | {"HOST": "127.0.0.1", "PORT": f"{taken.getsockname()[1]}"}
        environ |= {"FUNCTION_TARGET": "main", "FUNCTION_SOURCE": f"{ROOT / 'functions/list_collections/main.py'}"}
        command = [sys.executable, "-m", "shared_lib.server"]
        ended = subprocess.run(command, check=False, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=90)

    assert ended.returncode != 0
    assert re.search(r"Cannot listen on HOST=127.0.0.1 PORT=\d+: Address already in use", ended.stderr.splitlines()[-1])


# Answers with the value of TCP_NODELAY of each connection to its port.
INSPECTOR = """
import os, socket
from contextlib import suppress
from shared_lib.server import Limiter, run

def find_connections():
    for number in range(3, 50):
        with suppress(OSError), socket.socket(fileno=os.dup(number)) as found:
            found.getpeername()  # fails for all else
            if found.getsockname()[1:] == (int(os.environ["PORT"]),):
                yield found.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

def answer(environ, start_response):
    values = f"{[*find_connections()]}".encode()
    start_response("200 OK", [("Content-Length", f"{len(values)}")])
    return [values]

limiter = Limiter(1)
run(answer, lambda scope: limiter, [limiter])
"""


def test_a_body_does_not_wait_until_the_client_has_confirmed_the_headers(platform: Platform) -> None:
    port = find_free_port()
    environ = ENVIRONMENT | platform.environment | {"HOST": "127.0.0.1", "PORT": f"{port}"}
    with subprocess.Popen([sys.executable, "-c", INSPECTOR], cwd=ROOT, env=environ) as process:
        try:
            wait_for(lambda: accepts(port), bool, 90)
            answer = exchange(("127.0.0.1", port), b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        finally:
            process.kill()

    assert set(json.loads(answer.body)) == {1}
