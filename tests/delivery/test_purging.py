"""Caches outside forget what was deleted or changed: soon, twice, and however long they are out of reach."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple
from uuid import uuid4

import pytest
from pydantic import SecretStr, TypeAdapter
from service import Api, make_photo

from shared_lib.caches import MOST_TAGS, purge
from shared_lib.errors import Unavailable
from shared_lib.repositories.purges import Purges
from shared_lib.runtime import Runtime
from shared_lib.services.purging import Purging
from shared_lib.settings import (
    CloudflareCache,
    CloudFrontCache,
    FastlyCache,
    NginxCache,
    PurgedCache,
    SouinCache,
)

TOKEN = SecretStr("secret-token")


class Seen(NamedTuple):
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Cdn(ThreadingHTTPServer):
    """Records each request, and responds as all CDNs do together."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.seen: list[Seen] = []
        self.status = 200
        self.success = True
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}).start()


class _Handler(BaseHTTPRequestHandler):
    server: Cdn

    def respond(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.seen.append(Seen(self.command, self.path, dict(self.headers), body))
        answer = json.dumps({"success": self.server.success}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", f"{len(answer)}")
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_PURGE = respond  # noqa: N815  names that http.server looks for

    def log_message(self, *_line: object) -> None:
        """Log nothing."""


@pytest.fixture
def cdn() -> Iterator[Cdn]:
    cdn = Cdn()
    yield cdn
    cdn.shutdown()
    cdn.server_close()


def test_each_cache_is_asked_in_its_own_way(cdn: Cdn) -> None:
    tags = ["image-1", "preset-default-hero"]
    caches: tuple[PurgedCache, ...] = (
        FastlyCache(kind="fastly", service="S1", token=TOKEN, url=cdn.url),
        CloudflareCache(kind="cloudflare", zone="z1", token=TOKEN, url=cdn.url),
        SouinCache(kind="souin", url=f"{cdn.url}/souin-api/souin", token=TOKEN),
        NginxCache(kind="nginx", url=f"{cdn.url}/purge"),
    )
    for each in caches:
        purge(each, tags)

    fastly, cloudflare, souin, *nginx = cdn.seen
    assert (fastly.method, fastly.path) == ("POST", "/service/S1/purge")
    assert (fastly.headers["Surrogate-Key"], fastly.headers["Fastly-Key"]) == (" ".join(tags), "secret-token")
    assert (cloudflare.method, cloudflare.path) == ("POST", "/zones/z1/purge_cache")
    assert (json.loads(cloudflare.body), cloudflare.headers["Authorization"]) == ({"tags": tags}, "Bearer secret-token")
    assert (souin.method, souin.path) == ("PURGE", "/souin-api/souin")
    assert souin.headers["Cache-Groups"] == '"image-1", "preset-default-hero"', "as responses have it"
    assert [(each.method, each.path) for each in nginx] == [("PURGE", f"/purge/{tag}") for tag in tags]
    assert "Authorization" not in nginx[0].headers


def test_cloudfront_invalidates_all_renditions_under_a_reference_that_stays(cdn: Cdn) -> None:
    cache = CloudFrontCache(
        kind="cloudfront", distribution="D1", access_key_id="AK", secret_access_key=TOKEN, url=cdn.url
    )
    for tags in (["b", "a"], ["a", "b"], ["c"]):
        purge(cache, tags)

    assert {each.path for each in cdn.seen} == {"/2020-05-31/distribution/D1/invalidation"}
    assert b"<Path>/i/*</Path>" in cdn.seen[0].body
    assert "Credential=AK/" in cdn.seen[0].headers["Authorization"]
    assert cdn.seen[0].body == cdn.seen[1].body != cdn.seen[2].body


@pytest.mark.parametrize(("status", "success"), [(500, True), (403, True), (302, True), (200, False)])
def test_a_cache_that_refuses_is_not_taken_for_one_that_has_forgotten(cdn: Cdn, status: int, success: bool) -> None:
    cdn.status, cdn.success = status, success

    with pytest.raises(Unavailable) as error:
        purge(CloudflareCache(kind="cloudflare", zone="z", token=TOKEN, url=cdn.url), ["x"])
    assert "secret" not in str(error.value)


def test_a_cache_out_of_reach_is_no_error_of_ours() -> None:
    with pytest.raises(Unavailable):
        purge(NginxCache(kind="nginx", url="http://127.0.0.1:9"), ["x"])


def make_purging(rt: Runtime, cdn: Cdn) -> Purging:
    return Purging(Purges(rt.database), (FastlyCache(kind="fastly", service="s", token=TOKEN, url=cdn.url),), 60)


def count_requests(cdn: Cdn, tag: str) -> int:
    return sum(tag in each.headers["Surrogate-Key"].split(" ") for each in cdn.seen)


def advance(rt: Runtime, tag: str) -> None:
    """Let the time pass until a tag is due again."""
    with rt.database.transaction() as tx:
        assert tx.rows("UPDATE purges SET due_at = now() WHERE tag = :tag RETURNING 1", tag=tag)


def test_a_deleted_image_is_purged_now_and_once_more_after_the_longest_rendering(
    rt: Runtime, api: Api, cdn: Cdn
) -> None:
    image = api.upload(make_photo(64, 64))
    api.await_end(image)
    tag, purging = f"image-{image}", make_purging(rt, cdn)

    assert api("DELETE", f"/images/{image}").status_code == 200
    purging.run()
    purging.run()
    assert count_requests(cdn, tag) == 1

    advance(rt, tag)
    purging.run()
    assert count_requests(cdn, tag) == 2
    with rt.database.transaction() as tx:
        assert tx.rows("SELECT 1 FROM purges WHERE tag = :tag", tag=tag) == []


def test_a_preset_that_changes_is_purged_and_one_that_changes_meanwhile_again(rt: Runtime, api: Api, cdn: Cdn) -> None:
    name = f"p-{uuid4().hex[:8]}"
    tag, purges = f"preset-default-{name}", Purges(rt.database)
    api("POST", "/presets", json={"recipe": {"name": name}})
    claimed = [each for each in purges.claim(1000) if each.tag == tag]
    api("POST", "/presets", json={"recipe": {"name": name}})

    purges.record(claimed, 60)

    assert [each.passes for each in purges.claim(1000) if each.tag == tag] == [2], (
        "the later change still is to be purged"
    )
    advance(rt, tag)
    make_purging(rt, cdn).run()
    assert count_requests(cdn, tag) == 1
    assert api("DELETE", f"/presets/{name}").status_code == 200
    make_purging(rt, cdn).run()
    assert count_requests(cdn, tag) == 2


def test_a_cache_that_fails_gets_the_same_tags_again_and_none_is_lost(rt: Runtime, cdn: Cdn) -> None:
    tags = [f"image-{uuid4()}" for _ in range(MOST_TAGS + 1)]
    with rt.database.transaction() as tx:
        tx.rows("INSERT INTO purges (tag) SELECT * FROM unnest(CAST(:tags AS text[]))", tags=tags)
    purging = make_purging(rt, cdn)
    cdn.status = 503
    purging.run()
    assert all(count_requests(cdn, tag) == 1 for tag in tags)
    assert all(len(each.headers["Surrogate-Key"].split(" ")) <= MOST_TAGS for each in cdn.seen)

    cdn.status = 200
    for tag in tags:
        advance(rt, tag)
    purging.run()

    assert all(count_requests(cdn, tag) == 2 for tag in tags)
    with rt.database.transaction() as tx:
        tx.rows("DELETE FROM purges WHERE tag = ANY(CAST(:tags AS text[]))", tags=tags)


def test_without_a_cache_old_requests_are_dropped(rt: Runtime) -> None:
    tag = f"image-{uuid4()}"
    with rt.database.transaction() as tx:
        tx.rows("INSERT INTO purges (tag, due_at) VALUES (:tag, now() - interval '2 hours')", tag=tag)

    Purging(Purges(rt.database), (), 60).run()

    with rt.database.transaction() as tx:
        assert tx.rows("SELECT 1 FROM purges WHERE tag = :tag", tag=tag) == []


def test_caches_are_configured_as_json_and_show_no_secret() -> None:
    caches = TypeAdapter(tuple[PurgedCache, ...]).validate_json(
        '[{"kind": "souin", "url": "http://souin:8080/souin-api/souin", "token": "secret-token"}]'
    )

    assert isinstance(caches[0], SouinCache)
    assert "secret-token" not in repr(caches)
