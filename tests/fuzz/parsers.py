"""Every parser that reads a stranger's bytes, with how these reach it through the front door."""

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

import signed_urls
from fuzz.pumping import Parser
from issuer import encode
from raw_http import Request
from service import ROOT

from shared_lib.consumer import MAX_EVENT
from shared_lib.domain.tokens import MAX_TOKEN
from shared_lib.events import KAFKA_RECORD, ProcessingRequested
from shared_lib.server.errors import MAX_HEAD, MAX_TARGET
from shared_lib.settings import FORM_OVERHEAD
from shared_lib.web.requests import MAX_JSON

UUID = "0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11"
TARGET, HEADER = MAX_TARGET - 200, MAX_HEAD - 400
"""What is left of a request's target and headers for the fuzzed part, characters."""

JSON = (
    '"x",',
    "{},",
    "[],",
    "0,",
    "null,",
    "1e999,",
    '"#":0,',
    '{"#":0},',
    '"#":{},',
    "[",
    '{"a":',
    '{"kind":"flip"},',
)
RECIPE = {
    "name": "all",
    "operations": [
        {"kind": "convolve", "matrix": [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]},
        {"kind": "curves", "all": [[0, 0], [255, 255]], "red": []},
        {"kind": "linear", "factor": [1.5], "offset": [1, 2, 3]},
        {"kind": "watermark", "image": UUID, "gravity": "southeast"},
        {"kind": "text", "text": "ab", "size": 20, "color": "#ffffff"},
        {"kind": "resize", "width": 10, "gravity": {"x": 0.5, "y": 0.5}},
    ],
    "output": {"format": "webp", "quality": 75},
}
FORM = (
    '--b\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\nContent-Type: image/jpeg\r\n\r\nx\r\n'
    f'--b\r\nContent-Disposition: form-data; name="renditions"\r\n\r\n{json.dumps([RECIPE])}\r\n--b--\r\n'
)
HEADERS = {
    "Accept": "image/avif,image/webp;q=0.9,*/*;q=0.1",
    "Accept-Encoding": "gzip;q=1.0, br;q=0.5, *;q=0",
    "Authorization": "Bearer a.b.c",
    "Content-Type": 'multipart/form-data; boundary="b"; charset=utf-8',
    "Cookie": "a=b; c=d",
    "Forwarded": 'for="[::1]:80";proto=https, for=10.0.0.1',
    "Host": "localhost:5000",
    "If-Match": 'W/"a", "b"',
    "If-Modified-Since": "Sun, 08 Mar 2026 19:02:11 GMT",
    "If-None-Match": 'W/"a", "b", *',
    "If-Range": '"a"',
    "Idempotency-Key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"',
    "Origin": "http://localhost:5000",
    "Range": "bytes=0-1,5-,-9",
    "Referer": "http://localhost:5000/gallery",
    "Sec-Fetch-Site": "same-origin",
    "X-API-Key": "imgp_4tR9kQ2mZx_0123456789012345678901234567890123456789012_abcdef",
    "X-Forwarded-For": "10.0.0.1, 10.0.0.2",
    "X-Forwarded-Host": "images.example.com",
    "X-Request-Id": "mine-1",
    "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
}
OURS = (
    f"w=320,h=240,fit=cover,gravity=0.5:0.25,dpr=2,q=75/{UUID}.webp",
    f"crop=40:0:640:480,rotate=90,flip=hv,bg=ff8800,blur=1.5,exp=1999999999,v=0123abcd/{UUID}.auto",
    f"web,download=1/{UUID}",
)
IMGPROXY = (
    f"rs:fill:300:400:1:1/g:fp:0.5:0.5/q:80/bg:255:0:0/wm:0.5:ce:10:10:0.2/plain/{UUID}@webp",
    f"preset:tiny:loop/c:100:0.5:no:1:2/pd:1:2:3:4/t:10:ff00ff:1:1/fq:jpg:50:webp:60/skp:gif:png/{UUID}.png",
    f"fn:aGFyYm9y:1/exp:1999999999/dpr:2.5/{base64.urlsafe_b64encode(f'image://{UUID}'.encode()).decode()}.jpg",
    "w:10/plain/http%3A%2F%2Fimages.example.com%2Fa.jpg%3Fb=c",
)
THUMBOR = (
    f"trim:top-left:50/10x20:300x400/adaptive-full-fit-in/-300x-200/left/top/smart/filters:grayscale()/{UUID}",
    f"300x200/filters:watermark({UUID},10,-5p,50,20,none):focal(0x0:10x10):quality(80):format(webp)/{UUID}",
    f"filters:curve([(0,0),(255,255)],[],[],[]):convolution(1;2;1;2;4,3,true):round_corner(5|5,0,0,0,1)/{UUID}",
    f"filters:rgb(1,2,3):blur(3,0.5):noise(10,3):sharpen(1,2.0,true):rotate(90):proportion(0.5):fill(red,1)/{UUID}",
    f"filters:colorize(10,20,30,ff9900):frame('{UUID}'):brightness(5):saturation(1.5):max_bytes(9000):max_age(60)/{UUID}",
    f"meta/orig x/filters:extract_focal()/http://t.example.com/unsafe/10x20:30x40/http://u.example.com/s/{UUID}",
)
CURSOR = '["2026-03-08T19:02:11.614000+00:00","0b9c0f3e-6e0e-4f3c-8f55-2f0f3f3a9d11"]'
RECORD = {
    "EventName": "s3:ObjectCreated:Put",
    "Key": f"upload-images/{UUID}",
    "Records": [
        {
            "eventName": "s3:ObjectCreated:Put",
            "eventTime": "2026-03-08T19:02:11.614Z",
            "s3": {
                "bucket": {"name": "upload-images", "arn": "arn:aws:s3:::upload-images"},
                "object": {"key": f"{UUID}", "size": 9, "eTag": "a", "userMetadata": {"content-type": "image/jpeg"}},
            },
        }
    ],
}
EVENT = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/fuzz", "ce-type": ProcessingRequested.type}
STRUCTURED = {"specversion": "1.0", "id": "1", "source": "/fuzz", "type": EVENT["ce-type"], "data": {"uuid": UUID}}
CAPABILITY = json.dumps(
    {"image": UUID, "widths": [320, 640], "presets": ["web"], "formats": ["auto"], "exp": 1999999999}
)
CLAIMS = '{"iss":"ISSUER","aud":["images"],"sub":"alice","iat":1,"nbf":1.5,"exp":1999999999,"roles":["editor"]}'


def list_parsers(issuer: str, claims: str) -> list[Parser]:
    """Return all of them. The issuer's URL and the claims are those of tokens that the guarded service accepts."""
    return [*_bodies(), *_queries(), *_headers(), *_urls(), *_secrets(issuer, claims), *_events()]


def _bodies() -> Iterator[Parser]:
    for method, path, operation in _operations():
        content = operation.get("requestBody", {}).get("content", {})
        if "application/json" in content:
            seeds = [json.dumps(content["application/json"]["example"])]
            if "operations" in seeds[0]:
                seeds.append(_put_recipe(path))
            send = partial(_send_body, method, path, "application/json")
            yield Parser(f"body of {operation['operationId']}", tuple(seeds), send, MAX_JSON, JSON)
    form = partial(_send_body, "POST", "/api/v1/images/actions/upload", "multipart/form-data; boundary=b")
    parts = (
        "\r\n",
        "--",
        "--b",
        "\r\n--b",
        'Content-Disposition: form-data; name="#"\r\n',
        "x: y\r\n",
        "; a=b",
        "\r\n\r\n",
    )
    yield Parser("form of upload_image", (FORM,), form, FORM_OVERHEAD, (*JSON, *parts))
    yield Parser("large form of upload_image", (FORM,), form, MAX_JSON, parts)


def _put_recipe(path: str) -> str:
    recipe = {name: value for name, value in RECIPE.items() if name != "name"}
    if path.endswith("/preview"):
        return json.dumps(recipe)
    return json.dumps({"recipe": RECIPE} if path.endswith("/presets") else {"uuid": UUID, "renditions": [RECIPE]})


def _queries() -> Iterator[Parser]:
    for method, path, operation in _operations():
        names = {
            each["name"]: f"{each.get('example') or '1'}"
            for each in operation.get("parameters", [])
            if each["in"] == "query"
        }
        if names:
            seeds = [urlencode(names), *(urlencode({name: value}) for name, value in names.items())]
            send = partial(_send_query, method, path)
            yield Parser(f"query of {operation['operationId']}", tuple(seeds), send, TARGET, ("#=1&", "&a=b"), _escape)
        if "{" in path:
            send = partial(_send_path, method, path)
            yield Parser(f"path of {operation['operationId']}", (UUID, "4tR9kQ2mZx"), send, TARGET, (), _escape)
    for filters in ("createdAt", "filename"):
        yield Parser(f"cursor by {filters}", (CURSOR,), partial(_send_cursor, filters), 3000, JSON)


def _headers() -> Iterator[Parser]:
    for name, seed in HEADERS.items():
        for method, path in (
            ("GET", "/openapi.json"),
            ("GET", "/api/v1/images"),
            ("POST", "/api/v1/images/actions/upload"),
        ):
            send = partial(_send_header, method, path, name)
            yield Parser(
                f"{name} of {method} {path}", (seed,), send, HEADER, ("q=0,", ";q=1", ', "#"', "0-1,"), _printable
            )
    send = partial(_send_header, "GET", "/", "X")
    yield Parser("many headers", ("a\r\nb: c",), send, HEADER, ("\r\nX-#: a", "\r\nAccept: a"), lambda text: text)


def _urls() -> Iterator[Parser]:
    dialects = {"/i/unsafe/": OURS, "/imgproxy/unsafe/": IMGPROXY, "/thumbor/unsafe/": THUMBOR}
    more = ("w=#,", "#=1,", "w:1/", "):", "blur(1):", "filters:", "'", "%28", "plain/", "pr:loop/", "?")
    for prefix, seeds in dialects.items():
        send = partial(_send_target, prefix)
        yield Parser(f"URL below {prefix}", seeds, send, TARGET, more, _escape)
    for prefix in ("/", "/i/", "/imgproxy/", "/thumbor/", "/api/v1/", "/gallery/"):
        yield Parser(
            f"path below {prefix}", ("a/b", f"images/{UUID}"), partial(_send_target, prefix), TARGET, (), _escape
        )


def _secrets(issuer: str, claims: str) -> Iterator[Parser]:
    header = json.dumps({"alg": "RS256", "kid": "rsa", "typ": "at+jwt"})
    size = MAX_TOKEN * 3 // 4 - 400
    yield Parser("header of a JWT", (header,), partial(_send_token, None, claims), size, JSON, server="guarded")
    yield Parser("claims of a JWT", (claims,), partial(_send_token, header, None), size, JSON, server="guarded")
    bearer = f"{encode(header)}.{encode(claims)}.{'a' * 342}"
    for name, seed in (("Authorization", f"Bearer {bearer}"), ("X-API-Key", HEADERS["X-API-Key"])):
        send = partial(_send_header, "GET", "/api/v1/images", name)
        yield Parser(f"{name} with authentication", (seed,), send, HEADER, (), _printable, server="guarded")
    token = signed_urls.make_token({"image": UUID, "widths": [320]})
    for prefix, seeds in {
        "/i/": (f"{token}/w=320/{UUID}.auto", signed_urls.sign(f"/w=320/{UUID}.webp").removeprefix("/i/")),
        "/imgproxy/": (f"{'a' * 43}/w:10/plain/{UUID}",),
        "/thumbor/": (f"{'a' * 27}=/10x10/{UUID}",),
    }.items():
        send = partial(_send_target, prefix)
        yield Parser(f"signature below {prefix}", seeds, send, TARGET, (".", "k1."), _escape, server="guarded")
    yield Parser(
        "JSON of a signed token", (CAPABILITY,), _send_capability, TARGET * 3 // 4 - 200, JSON, server="guarded"
    )


def _events() -> Iterator[Parser]:
    tasks = partial(_send_event, "/process-image", EVENT | {"content-type": "application/json"})
    records = partial(_send_event, "/process-image", EVENT | {"ce-type": KAFKA_RECORD})
    structured = partial(_send_event, "/process-image", {"content-type": "application/cloudevents+json"})
    letters = partial(
        _send_event, "/record-dead-letter", EVENT | {"ce-knativeerrorcode": "503", "ce-type": KAFKA_RECORD}
    )
    names = json.dumps({"uuid": UUID})
    yield Parser("event for process_image", (names,), tasks, MAX_EVENT, JSON, server="consumers")
    yield Parser("records of a store", (json.dumps(RECORD),), records, MAX_EVENT, JSON, server="consumers")
    yield Parser("structured event", (json.dumps(STRUCTURED),), structured, MAX_EVENT, JSON, server="consumers")
    yield Parser("dead letter", (json.dumps(RECORD),), letters, MAX_EVENT, JSON, server="consumers")
    for name in (
        "ce-id",
        "ce-type",
        "ce-source",
        "ce-time",
        "ce-knativeerrordata",
        "ce-specversion",
        "content-type",
        "ce-x",
    ):
        send = partial(_send_attribute, name)
        yield Parser(
            f"{name} of an event",
            ("a", "1.0", "2026-03-08T19:02:11Z"),
            send,
            HEADER,
            (),
            _printable,
            server="consumers",
        )


def _operations() -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    described = json.loads((ROOT / "shared_lib/web/openapi.json").read_text())
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            if method in ("get", "post", "put", "patch", "delete"):
                yield method.upper(), path, operation


def _escape(text: str) -> str:
    return quote(text, safe="%!$&'()*+,-./:;=?@_~")


def _printable(text: str) -> str:
    return text.encode("latin-1", "replace").decode("latin-1")


def _fill(path: str, value: str = UUID) -> str:
    for name in ("uuid", "key_id", "name", "letter_id", "id", "signature", "options", "file"):
        path = path.replace(f"{{{name}}}", value)
    return path


def _send_body(method: str, path: str, kind: str, text: str) -> Request:
    return Request(method, _fill(path), {"Content-Type": kind}, text.encode("utf-8", "surrogatepass"))


def _send_query(method: str, path: str, text: str) -> Request:
    return Request(method, f"{_fill(path)}?{text}")


def _send_path(method: str, path: str, text: str) -> Request:
    return Request(method, _fill(path, text)[:TARGET])


def _send_cursor(column: str, text: str) -> Request:
    """Continue a list where a cursor says, whose checksum anybody can compute."""
    content = text.encode()
    named = json.dumps({"sort": "desc", "search": "", "sort_by": column}, separators=(",", ":"))
    key = hashlib.blake2b(f"{UUID if column == 'filename' else None} {named}".encode()).digest()
    digest = hashlib.blake2b(content, digest_size=9, key=key).digest()
    cursor = base64.urlsafe_b64encode(digest + content).rstrip(b"=").decode()
    path = f"/api/v1/collections/{UUID}" if column == "filename" else "/api/v1/collections"
    return Request("GET", f"{path}?sortBy={column}&after={cursor}")


def _send_header(method: str, path: str, name: str, text: str) -> Request:
    return Request(method, path, {name: text})


def _send_target(prefix: str, text: str) -> Request:
    return Request("GET", prefix + text)


def _send_token(header: str | None, claims: str | None, text: str) -> Request:
    token = f"{encode(header or text)}.{encode(claims or text)}.{'a' * 342}"
    return Request("GET", "/api/v1/images", {"Authorization": f"Bearer {token}"})


def _send_capability(text: str) -> Request:
    return Request("GET", f"/i/{signed_urls.make_token_of(text.encode())}/w=320/{UUID}.auto")


def _send_event(path: str, headers: Mapping[str, str], text: str) -> Request:
    return Request("POST", path, dict(headers), text.encode("utf-8", "surrogatepass"))


def _send_attribute(name: str, text: str) -> Request:
    return Request("POST", "/record-dead-letter", EVENT | {name: text}, json.dumps({"uuid": UUID}).encode())
