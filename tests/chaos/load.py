"""Clients that upload photos while parts of the service fail, and note what they were told."""

import hashlib
import io
import itertools
import json
import random
import threading
import time
from collections import Counter
from typing import Any

import requests
from PIL import Image
from requests.adapters import HTTPAdapter
from service import Api, make_photo

from benchmarks.audit import Answer, Upload

CLIENTS = 8
TIMEOUT_SECONDS = 30.0
BACK_OFF_SECONDS = 1.0  # after an upload that was not accepted
DELETE_TRIES = 5
SMALL = [{"name": "small", "operations": [{"kind": "resize", "width": 64, "height": 64, "fit": "cover"}]}]
GRAY = [{"name": "gray", "operations": [{"kind": "grayscale"}]}]


class Photos:
    """Distinct JPEGs, each the same picture with a comment of its own, and some that are cut off."""

    def __init__(self, width: int, height: int) -> None:
        self._photo = make_photo(width, height)

    def make(self, comment: str) -> bytes:
        with Image.open(io.BytesIO(self._photo)) as picture, io.BytesIO() as file:
            picture.save(file, "JPEG", comment=comment.encode(), quality="keep")
            return file.getvalue()

    def make_broken(self, comment: str) -> bytes:
        whole = self.make(comment)
        return whole[: len(whole) // 2]


class Load:
    """Clients that send `count` uploads, or go on until they are stopped, `rate` of them per second.

    Half of the uploads are direct, and half are put to presigned URLs. Some are no images, some have the bytes of
    another, some request renditions, and some are deleted right away.
    """

    def __init__(self, url: str, photos: Photos, *, name: str, rate: float, count: int | None = None) -> None:
        self._url = url
        self._photos = photos
        self._name = name
        self._rate = rate
        self._count = count
        self._began = time.monotonic()
        self._numbers = itertools.count()
        self._probes = itertools.count()
        self._stopped = threading.Event()
        self.history: list[Upload] = []
        self.responses: Counter[str] = Counter()
        self.ended = 0.0
        self._threads = [threading.Thread(target=self._run) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    @property
    def accepted(self) -> list[Upload]:
        return [each for each in list(self.history) if each.answer is Answer.ACCEPTED]

    def count_failures(self) -> int:
        """Return how many requests were answered with a 5xx that says no more than that it failed."""
        statuses = ((name.split()[1], count) for name, count in self.responses.items())
        return sum(count for status, count in statuses if status.startswith("5") and status != "503")

    def stop(self) -> None:
        self._stopped.set()
        self.join()

    def join(self) -> None:
        for thread in self._threads:
            thread.join()

    def probe(self, api: Api) -> str | None:
        """Send one more upload, directly. Return its UUID if it is accepted."""
        name = f"{self._name}-probe-{next(self._probes)}"
        data = self._photos.make(name)
        upload = Upload(f"{name}.jpg", hashlib.sha256(data).hexdigest())
        self.history.append(upload)
        self._post(api, upload, data, [])
        return upload.uuid

    def _run(self) -> None:
        self._send_all()
        self.ended = time.monotonic()

    def _send_all(self) -> None:
        with requests.Session() as session:
            session.mount("http://", HTTPAdapter(max_retries=0))
            api = Api(f"{self._url}/api/v1", session)
            for number in self._numbers:
                if self._count is not None and number >= self._count:
                    return
                if self._stopped.wait(max(self._began + number / self._rate - time.monotonic(), 0)):
                    return
                self._send(api, number)

    def _send(self, api: Api, number: int) -> None:
        """Make one upload and what comes with it. `number` decides what that is."""
        dice = random.Random(f"{self._name}-{number}")
        kind = dice.choices(["plain", "broken", "equal", "rendition", "later", "deleted"], [50, 5, 10, 10, 10, 15])[0]
        comment = f"{self._name}-{number - number % 10 if kind == 'equal' else number}"
        data = self._photos.make_broken(comment) if kind == "broken" else self._photos.make(comment)
        upload = Upload(f"{self._name}-{number}.jpg", hashlib.sha256(data).hexdigest())
        upload.failure = "corrupt_image" if kind == "broken" else None
        self.history.append(upload)
        if number % 2:
            self._put(api, upload, data)
        else:
            self._post(api, upload, data, SMALL if kind == "rendition" else [])
        if upload.answer is not Answer.ACCEPTED:
            time.sleep(BACK_OFF_SECONDS)
        if upload.answer is Answer.ACCEPTED and kind == "later":
            self._request(api, upload)
        if upload.answer is Answer.ACCEPTED and kind == "deleted":
            self._delete(api, upload)

    def _post(self, api: Api, upload: Upload, data: bytes, renditions: list[Any]) -> None:
        form = {"renditions": json.dumps(renditions)} if renditions else {}
        files = {"file": (upload.filename, data, "image/jpeg")}
        upload.answer, response = self._call(api, "POST", "/images/actions/upload", files=files, data=form)
        if upload.answer is Answer.ACCEPTED and response is not None:
            upload.uuid = response.json()["data"]["uuid"]
            upload.renditions |= {each["name"] for each in renditions}

    def _put(self, api: Api, upload: Upload, data: bytes) -> None:
        body = {"extension": "jpg", "filename": upload.filename}
        upload.answer, response = self._call(api, "POST", "/images/actions/upload-url", json=body)
        if upload.answer is not Answer.ACCEPTED or response is None:
            upload.answer = Answer.REFUSED  # there is no URL to put to
            return
        upload.uuid = response.json()["uuid"]
        try:
            response = requests.put(response.json()["presignedUrl"], data, timeout=TIMEOUT_SECONDS)
        except requests.RequestException:
            upload.answer = Answer.UNKNOWN
        else:  # a store that fails after it has written answers with an error
            upload.answer = Answer.ACCEPTED if response.ok else Answer.UNKNOWN
        self.responses[f"PUT {upload.answer.value}"] += 1

    def _request(self, api: Api, upload: Upload) -> None:
        upload.requests += 1
        body = {"uuid": upload.uuid, "filename": upload.filename, "renditions": GRAY}
        if self._call(api, "POST", "/images/actions/process", json=body)[0] is Answer.ACCEPTED:
            upload.renditions.add("gray")

    def _delete(self, api: Api, upload: Upload) -> None:
        for _ in range(DELETE_TRIES):
            again = upload.deletion is not None
            upload.deletion, response = self._call(api, "DELETE", f"/images/{upload.uuid}")
            if again and response is not None and response.status_code == 404:
                upload.deletion = Answer.ACCEPTED  # an earlier try was carried out
            if upload.deletion is Answer.ACCEPTED:
                return
            time.sleep(1)

    def _call(self, api: Api, method: str, path: str, **more: Any) -> tuple[Answer, requests.Response | None]:
        try:
            response = api(method, path, **more)
        except requests.RequestException:
            self.responses[f"{method} unknown"] += 1
            return Answer.UNKNOWN, None
        self.responses[f"{method} {response.status_code}"] += 1
        return Answer.ACCEPTED if response.ok else Answer.REFUSED, response
