"""Signed URLs, on a service whose callers need credentials."""

import os
import random
import re
import shutil
import string
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import pytest
import requests
from service import ENVIRONMENT, ROOT, Api, Platform, make_photo
from signed_urls import KEYS, SETTING, sign

from shared_lib import settings
from shared_lib.delivery.signatures import UrlKeys
from shared_lib.errors import Forbidden

MUTATIONS = int(os.environ.get("URL_MUTATIONS", "5000"))
"""`make check-security` sets it, and those of other tests."""
Get = Callable[[str], requests.Response]


@pytest.fixture(scope="module")
def image(admin: Api) -> str:
    uuid = admin.upload(make_photo(640, 480))
    admin.await_end(uuid)
    return uuid


@pytest.fixture(scope="module")
def get(guarded: Platform) -> Get:
    return lambda path: requests.get(guarded.url + path, timeout=60)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_signs_so_that_keys_can_rotate(get: Get, image: str, key: str) -> None:
    assert get(sign(f"/w=33/{image}", key)).status_code == 200


def test_a_signature_of_which_any_character_differs_is_refused(get: Get, image: str) -> None:
    url = sign(f"/w=34/{image}.webp")
    assert get(url).status_code == 200
    for place in range(len("/i/"), len(url)):
        other = "A" if url[place] != "A" else "B"
        refused = get(url[:place] + other + url[place + 1 :])

        is_a_slash = url[place] == "/"  # without it, it is another path
        expected = (404, "no_such_path") if is_a_slash else (403, "signature_refused")
        assert (refused.status_code, refused.json()["code"]) == expected, place


def mutate(path: str, chance: random.Random) -> str:
    """Return another path than this one, which is signed."""
    place = chance.randrange(len("/i/"), len(path))
    before, here, after = path[:place], path[place], path[place + 1 :]
    name, value = chance.choice((("w", "35"), ("h", "34"), ("exp", "9999999999"), ("q", "1"), ("w", "34")))
    mutations = (
        lambda: before + chr(ord(here) ^ 1 << chance.randrange(7)) + after,  # a bit
        lambda: before + chance.choice(string.printable) + here + after,
        lambda: before + after,
        lambda: before + after[:1] + here + after[1:],  # the order
        lambda: before + here.swapcase() + after,
        lambda: before + f"%{ord(here):02x}" + after,
        lambda: before + f"%{ord(here):02X}" + after,
        lambda: path.replace(",", f",{name}={value},", 1),  # a double
        lambda: path.replace("/w=34", f"/{name}={value},w=34"),
        lambda: path.replace("exp=", f"exp={chance.randrange(10)}"),  # later
        lambda: path.replace("/new.", "/old."),  # another key
        lambda: path.replace(".", "..", 1),  # an empty token
        lambda: path.replace("/", "//", chance.randrange(5)) + chance.choice(("", "/", "?", ".", "=")),
        lambda: path[: chance.randrange(len(path))],
    )
    while (mutated := chance.choice(mutations)()) == path:
        pass
    return mutated


def test_no_mutation_of_a_signed_url_is_accepted() -> None:
    keys = UrlKeys(settings.Delivery.model_validate({"keys": SETTING}), allow_unsigned=False)
    path, chance = sign(f"/w=34,exp={int(time.time()) + 60}/{uuid4()}.webp"), random.Random(15)

    def is_accepted(path: str) -> bool:
        """As Delivery reads a URL."""
        signature, _, rest = path.removeprefix("/i/").partition("/")
        with suppress(Forbidden):
            return keys.check(signature, f"/{rest}") is not None
        return False

    assert is_accepted(path)
    assert [each for each in (mutate(path, chance) for _ in range(MUTATIONS)) if is_accepted(each)] == []


def test_an_unsigned_url_is_refused_whatever_it_asks_for(get: Get, image: str) -> None:
    for rest in (f"w=320/{image}", "nonsense/x", f"small/{image}.webp"):
        assert get(f"/i/unsafe/{rest}").json()["code"] == "signature_missing"


def test_a_url_expires_and_caches_are_told_when(get: Get, image: str) -> None:
    response = get(sign(f"/w=35,exp={int(time.time()) + 60}/{image}"))
    assert response.status_code == 200
    assert 0 < int(response.headers["Cache-Control"].removeprefix("public, max-age=")) <= 60

    late = get(sign(f"/w=35,exp={int(time.time()) - 1}/{image}"))

    assert (late.status_code, late.json()["code"]) == (403, "url_expired")


def test_the_service_signs_a_url_for_whoever_may_read_the_image(admin: Api, get: Get, image: str) -> None:
    order = {"options": "w=200,h=100,fit=cover", "format": "webp", "expiresIn": 600}

    signed = admin("POST", f"/images/{image}/actions/sign", json=order)

    assert signed.status_code == 200, signed.text
    url = signed.json()["url"]
    response = requests.get(url, timeout=60)
    assert (response.status_code, response.headers["Content-Type"]) == (200, "image/webp")
    assert signed.json()["expiresAt"].endswith("Z")


@pytest.mark.parametrize(("options", "status"), [("w=0", 400), ("small,w=3", 400), ("nothing", 404), ("a/b", 400)])
def test_the_service_signs_no_url_that_delivers_nothing(admin: Api, image: str, options: str, status: int) -> None:
    assert admin("POST", f"/images/{image}/actions/sign", json={"options": options}).status_code == status


def test_a_signature_is_checked_before_the_image_is_looked_for(get: Get) -> None:
    unknown = "00000000-0000-4000-8000-000000000000"

    assert get(f"/i/new.AAAA/small/{unknown}").status_code == 403
    assert get(sign(f"/small/{unknown}")).status_code == 404


def find_examples(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^```(python|typescript|go|sh)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def read_section(title: str) -> str:
    return (ROOT / "docs/delivery.md").read_text().partition(f"\n## {title}\n")[2].partition("\n## ")[0]


EXAMPLES, TOKEN_EXAMPLES = (find_examples(read_section(title)) for title in ("Signatures", "Tokens"))
RUN = {
    "python": ("sign.py", [sys.executable]),
    "typescript": ("sign.mts", [f"{Path(sys.executable).parent / 'node'}"]),
    "go": ("sign.go", ["go", "run"]),
    "sh": ("sign.sh", ["sh"]),
}


@pytest.mark.parametrize(("language", "program"), EXAMPLES, ids=[language for language, _ in EXAMPLES])
def test_a_program_signs_as_the_documentation_shows(
    get: Get, image: str, tmp_path: Path, language: str, program: str
) -> None:
    printed = run_example(language, program.replace("w=640", "w=64"), image, tmp_path)

    assert printed == sign(f"/w=64/{image}.auto")
    assert get(printed).status_code == 200


@pytest.mark.parametrize(("language", "program"), TOKEN_EXAMPLES, ids=[language for language, _ in TOKEN_EXAMPLES])
def test_a_program_makes_tokens_as_the_documentation_shows(
    get: Get, image: str, tmp_path: Path, language: str, program: str
) -> None:
    token = run_example(language, program.replace("320", "32"), image, tmp_path)

    assert get(f"/i/{token}/w=32/{image}.auto").status_code == 200
    assert get(f"/i/{token}/w=33/{image}.auto").status_code == 403


def run_example(language: str, program: str, image: str, folder: Path) -> str:
    name, command = RUN[language]
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} here")
    filled = program.replace("KEY", KEYS["new"]).replace("UUID", image).replace("k1", "new")
    (folder / name).write_text(filled)
    environ = ENVIRONMENT | {"GOCACHE": f"{folder.parent / 'go-cache'}", "HOME": f"{folder}"}
    run = subprocess.run([*command, name], cwd=folder, env=environ, stdout=subprocess.PIPE, text=True, check=True)
    return run.stdout.strip()


def test_every_language_has_both_examples() -> None:
    assert [{language for language, _ in examples} for examples in (EXAMPLES, TOKEN_EXAMPLES)] == [RUN.keys()] * 2
