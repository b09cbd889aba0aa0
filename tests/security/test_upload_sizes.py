"""With credentials required, the store takes files of the announced size only."""

import pytest
import requests
from service import Api, make_photo

PATH = "/images/actions/upload-url"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_url_is_given_out_for_a_file_of_a_known_size_only(admin: Api, method: str) -> None:
    photo = make_photo()

    def ask(**size: int) -> requests.Response:
        wanted = {"extension": "jpg", **size}
        return admin(method, PATH, params=wanted) if method == "GET" else admin(method, PATH, json=wanted)

    refused = ask()
    assert (refused.status_code, refused.json()["code"]) == (400, "size_missing")
    assert refused.json()["error"] == "sizeBytes: give the file's exact size in bytes"
    assert ask(sizeBytes=2**40).status_code == 413

    ticket = ask(sizeBytes=len(photo)).json()
    url, headers = ticket["presignedUrl"], ticket["headers"]
    assert requests.put(url, data=photo + b"x", headers=headers, timeout=30).status_code == 403
    assert requests.put(url, data=photo, headers=headers, timeout=30).status_code == 200
    assert requests.put(url, data=photo, headers=headers, timeout=30).status_code == 412
    assert admin.await_end(ticket["uuid"])["status"] == "succeeded"


def test_without_credentials_a_url_for_a_file_of_any_size_is_given_out_as_ever(api: Api) -> None:
    ticket = api("GET", PATH, params={"extension": "jpg"}).json()

    assert (ticket["headers"], ticket["method"]) == ({}, "PUT")
    assert requests.put(ticket["presignedUrl"], data=make_photo(), timeout=30).status_code == 200
    assert api.await_end(ticket["uuid"])["status"] == "succeeded"
