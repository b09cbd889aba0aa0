"""The gallery in a browser, on the real service."""

import itertools
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import urlsplit
from xml.sax.saxutils import escape

import accessibility
import pytest
import requests
from gallery import SECONDS, Gallery
from PIL import ExifTags, Image
from playwright.sync_api import BrowserContext, Route, expect
from service import ROOT, Api, Platform, connect, make_photo, wait_for

SCRIPTS = (Path(__file__).parent / "stored_scripts.txt").read_text().splitlines()
IN_ONE_IMAGE = 5
XMP = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title><rdf:Alt>{title}</rdf:Alt></dc:title>'
    "</rdf:Description></rdf:RDF></x:xmpmeta>"
)


def test_the_page_has_a_strict_policy_and_its_files_may_be_kept_forever(platform: Platform) -> None:
    page = requests.get(platform.url, timeout=10)
    policy = page.headers["Content-Security-Policy"]
    files = re.findall(r'(?:src|href)="(/gallery/[^"]+)"', page.text)

    assert page.headers["Cache-Control"] == "no-cache"
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert {each.rsplit(".")[-1] for each in files} == {"svg", "css", "js"}
    for file in files:
        response = requests.get(platform.url + file, timeout=10)
        assert response.status_code == 200
        assert response.headers["Cache-Control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize(("accepted", "encoding"), [("gzip, br", "br"), ("gzip", "gzip"), ("br;q=0, gzip;q=0", None)])
def test_texts_are_compressed_for_who_accepts_it(platform: Platform, accepted: str, encoding: str | None) -> None:
    page = requests.get(platform.url, timeout=10).text
    [script] = re.findall(r'src="(/gallery/[^"]+)"', page)
    sizes = {}
    for path in (script, "/openapi.json", "/api-docs/swagger-ui-bundle.js"):
        for accepts in ("identity", accepted):
            sent = requests.head(platform.url + path, headers={"Accept-Encoding": accepts}, timeout=10)
            assert "Accept-Encoding" in sent.headers["Vary"]
            sizes[accepts] = int(sent.headers["Content-Length"])
        expected = "gzip" if encoding and path != script else encoding
        assert sent.headers.get("Content-Encoding") == expected
        assert (sizes[accepted] < sizes["identity"] / 2) == bool(expected), path


def test_lists_are_compressed_for_who_accepts_it(api: Api, make_image: Callable[..., str], word: str) -> None:
    for name in ("one", "two", "three"):
        make_image(name)
    plain = api("GET", f"/images?search={word}&include=none", headers={"Accept-Encoding": "identity"})
    sent = api("GET", f"/images?search={word}&include=none", headers={"Accept-Encoding": "gzip"})

    assert (plain.headers.get("Content-Encoding"), sent.headers["Content-Encoding"]) == (None, "gzip")
    assert int(sent.headers["Content-Length"]) < int(plain.headers["Content-Length"])
    assert "Accept-Encoding" in plain.headers["Vary"]
    assert sent.json() == plain.json()


@pytest.mark.timeout(120)
def test_chosen_files_turn_into_pictures_and_refused_ones_say_why(gallery: Gallery, word: str) -> None:
    gallery.open()
    names = [f"{name}-{word}" for name in ("harbor", "dunes", "forest", "meadow")]
    photos = {f"{name}_jpg": make_photo(640, 400 + 40 * number) for number, name in enumerate(names)}
    broken = make_photo()[:2000]
    gallery.choose_files(**photos, **{f"broken-{word}_jpg": broken, f"notes-{word}_txt": b"no image"})

    for name in names:
        gallery.await_picture(f"{name}.jpg")
        expect(gallery.upload_row(f"{name}.jpg")).to_contain_text("Done")
    expect(gallery.upload_row(f"notes-{word}.txt")).to_contain_text("Files of this type are not taken")
    expect(gallery.upload_row(f"broken-{word}.jpg")).to_contain_text("corrupt", timeout=30 * SECONDS)
    expect(gallery.tile(f"broken-{word}.jpg")).to_have_count(0)
    expect(gallery.page.get_by_role("region", name="Uploads").get_by_role("status")).to_have_text("4 done, 2 failed")

    gallery.open(f"?filter=failed&search={word}")
    gallery.tile(f"broken-{word}.jpg").get_by_role("link").click()
    expect(gallery.page.get_by_role("dialog")).to_contain_text("corrupt")


def test_a_large_file_goes_to_the_store_in_parts(gallery: Gallery, api: Api, word: str) -> None:
    parts: list[str] = []
    gallery.page.on("request", lambda request: parts.append(request.url) if request.method == "PUT" else None)
    gallery.open()
    gallery.choose_files(**{f"large-{word}_bmp": make_photo(2300, 1700, "BMP")})

    gallery.await_picture(f"large-{word}.bmp")
    assert len(parts) == 2
    [image] = api("GET", f"/images?search={word}&include=none").json()
    assert image["sizeBytes"] == 2300 * 1700 * 3 + 54
    wait_for(lambda: api("GET", f"/images/{image['uuid']}").json()["renditions"], lambda made: len(made) == 4)


@pytest.mark.timeout(120)
def test_a_long_list_keeps_only_the_pictures_near_the_window_in_the_page(gallery: Gallery, api: Api, word: str) -> None:
    photo = make_photo(32, 24)
    for number in range(220):
        api.upload(photo, f"{number}-{word}.jpg")
    page = gallery.page
    gallery.open(f"?search={word}")
    expect(gallery.tile(f"219-{word}.jpg")).to_have_count(1)
    for _ in range(40):
        page.mouse.wheel(0, 1500)
        page.wait_for_timeout(100)
        assert page.locator("li.tile").count() < 100
        if page.locator("li[aria-posinset='220']").count():
            break

    expect(page.locator("li[aria-posinset='220']")).to_contain_text(f"0-{word}.jpg")
    expect(page.locator("li[aria-posinset='220']")).to_have_attribute("aria-setsize", "220")


def test_an_image_that_came_without_renditions_is_sharp(gallery: Gallery, api: Api, word: str) -> None:
    uuid = api.upload(make_photo(1600, 1200), f"bare-{word}.jpg")
    api.await_end(uuid)
    widths = "images => images.map(({complete, naturalWidth}) => complete && naturalWidth)"

    gallery.open(f"?search={word}")
    tile = gallery.tile(f"bare-{word}.jpg").locator("img")
    wait_for(lambda: tile.evaluate_all(widths), lambda found: max(found, default=0) >= 400)
    gallery.open(f"?image={uuid}")
    large = gallery.page.get_by_role("dialog").locator(".stage img")
    wait_for(lambda: large.evaluate_all(widths), lambda found: max(found, default=0) >= 800)


def test_similar_pictures_are_shown_beside_an_image(gallery: Gallery, api: Api, word: str) -> None:
    photo = (ROOT / "tests/golden/photographs/cat.jpg").read_bytes()
    one, other = (api.upload(photo, f"{name}-{word}.jpg") for name in ("one", "other"))
    for uuid in (one, other):
        api.await_end(uuid)
    gallery.open(f"?image={one}")
    gallery.page.locator(".similar").get_by_role("link", name=f"other-{word}.jpg").click()

    expect(gallery.page.get_by_role("heading", name=f"other-{word}.jpg")).to_be_visible()


def test_files_can_be_dropped_anywhere_and_pasted(gallery: Gallery, word: str) -> None:
    gallery.open()
    for event, field in (("drop", "dataTransfer"), ("paste", "clipboardData")):
        gallery.page.evaluate(
            """([event, field, name, bytes]) => {
                const transfer = new DataTransfer()
                transfer.items.add(new File([new Uint8Array(bytes)], name, {type: "image/jpeg"}))
                const kind = field === "dataTransfer" ? DragEvent : ClipboardEvent
                document.body.dispatchEvent(new kind(event, {[field]: transfer, bubbles: true, cancelable: true}))
            }""",
            [event, field, f"{event}-{word}.jpg", list(make_photo())],
        )

    for event in ("drop", "paste"):
        gallery.await_picture(f"{event}-{word}.jpg")


def test_a_search_is_in_the_url_and_finds_by_name(gallery: Gallery, make_image: Callable[..., str], word: str) -> None:
    make_image("alps")
    make_image("coast")
    gallery.open()
    gallery.page.get_by_role("searchbox").fill(f"alps-{word}")

    expect(gallery.page.locator("li.tile")).to_have_count(1)
    expect(gallery.page).to_have_url(f"{gallery.url}/?search=alps-{word}")
    gallery.page.reload()
    expect(gallery.page.locator("li.tile")).to_have_count(1)
    expect(gallery.page.get_by_role("searchbox")).to_have_value(f"alps-{word}")


def test_back_from_a_search_stays_whatever_is_clicked_next(
    gallery: Gallery, make_image: Callable[..., str], word: str
) -> None:
    make_image("alps")
    gallery.open()
    field = gallery.page.get_by_role("searchbox")
    field.fill(f"alps-{word}")
    expect(gallery.page).to_have_url(f"{gallery.url}/?search=alps-{word}")
    gallery.page.go_back()
    expect(field).to_have_value("")
    gallery.page.get_by_role("heading", level=1).click()

    gallery.page.wait_for_timeout(1 * SECONDS)
    expect(gallery.page).to_have_url(f"{gallery.url}/")


def test_a_late_answer_about_one_image_does_not_replace_what_is_known_of_the_next(
    gallery: Gallery, make_image: Callable[..., str], word: str
) -> None:
    uuids = [make_image(name) for name in ("older", "newer")]
    held: list[Route] = []
    gallery.page.route(re.compile(f"/images/{uuids[1]}$"), lambda route: held.append(route))  # noqa: PLW0108  Playwright marks it
    gallery.open(f"?search={word}")
    gallery.tile("newer").get_by_role("link").click()
    dialog = gallery.page.get_by_role("dialog")
    expect(dialog.get_by_role("heading", name=f"newer-{word}.jpg")).to_be_visible()
    gallery.page.keyboard.press("ArrowRight")
    expect(dialog.locator(".hash").first).to_be_visible()
    for route in held:
        route.continue_()

    gallery.page.wait_for_timeout(1 * SECONDS)
    expect(dialog.get_by_role("heading", name=f"older-{word}.jpg")).to_be_visible()
    expect(dialog.locator(".hash").first).to_be_visible()


def test_what_one_does_with_an_image_is_seen_without_scrolling(
    gallery: Gallery, make_image: Callable[..., str]
) -> None:
    uuid = make_image("pier", description="Noon. " * 300)
    for width, height in ((1360, 860), (390, 844)):
        gallery.page.set_viewport_size({"width": width, "height": height})
        gallery.open(f"?image={uuid}")
        dialog = gallery.page.get_by_role("dialog")
        for name in ("Download original", "Share", "Add to collection", "Delete"):
            expect(dialog.get_by_role("button", name=name)).to_be_in_viewport(ratio=1)
        expect(dialog.get_by_role("link", name="Try recipes")).to_be_in_viewport(ratio=1)


def test_one_pixel_of_a_large_image_is_shown_as_one_pixel(gallery: Gallery, api: Api, word: str) -> None:
    uuid = api.upload(make_photo(4200, 2800), f"large-{word}.jpg")
    api.await_end(uuid)
    gallery.open(f"?image={uuid}")
    picture = gallery.page.locator(".zoom img.loaded")
    expect(picture).to_be_visible()
    measure = "image => [image.complete && image.naturalWidth, Math.round(image.getBoundingClientRect().width)]"
    gallery.page.get_by_role("button", name="1:1").click()
    wait_for(lambda: picture.evaluate(measure), lambda found: found == [4200, 4200])

    gallery.page.keyboard.press("1")
    wait_for(lambda: picture.evaluate(measure)[1], lambda width: width < 1000)


def test_a_size_of_some_bytes_is_in_the_plural(gallery: Gallery, api: Api, word: str) -> None:
    drawing = f'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><!--{word}--><path d="M0 0h9v9z"/></svg>'
    uuid = api.upload(drawing.encode(), f"small-{word}.svg")
    api.await_end(uuid)
    gallery.open(f"?image={uuid}")

    expect(gallery.page.get_by_role("dialog")).to_contain_text(f"9 × 9 · {len(drawing)} bytes")


def test_the_count_follows_a_deletion_at_once_and_its_undo(
    gallery: Gallery, make_image: Callable[..., str], word: str
) -> None:
    for name in ("kept", "gone"):
        make_image(name)
    gallery.open(f"?search={word}")
    status = gallery.page.get_by_role("main").get_by_role("status").first
    expect(status).to_have_text("2 pictures")
    gallery.tile("gone").get_by_role("checkbox").check()
    gallery.page.keyboard.press("Delete")
    expect(status).to_have_text("1 picture")
    gallery.page.get_by_role("button", name="Undo").click()
    expect(status).to_have_text("2 pictures")


def test_navigation_title_and_filter_have_names_of_their_own(gallery: Gallery) -> None:
    gallery.open()
    expect(gallery.page.get_by_role("heading", level=1)).to_have_text("Pictures")

    expect(gallery.page.get_by_role("link", name="Pictures", exact=True)).to_have_count(0)
    for name in ("Library", "Ready", "In the works", "Failed"):
        expect(gallery.page.get_by_role("link", name=name, exact=True)).to_have_count(1)


def test_dragging_across_the_grid_selects_no_text(gallery: Gallery, make_image: Callable[..., str], word: str) -> None:
    for name in ("one", "two", "three"):
        make_image(name)
    gallery.open(f"?search={word}")
    expect(gallery.page.locator("li.tile img.loaded")).to_have_count(3)
    box = gallery.page.locator(".grid").bounding_box()
    assert box
    gallery.page.mouse.move(box["x"] + box["width"] - 5, box["y"] + 5)  # beside the last picture
    gallery.page.mouse.down()
    gallery.page.mouse.move(box["x"] + 5, box["y"] + box["height"] - 5, steps=5)
    gallery.page.mouse.up()

    assert gallery.page.evaluate("getSelection().toString()") == ""


def test_an_image_shows_what_is_known_of_it(
    gallery: Gallery, api: Api, make_image: Callable[..., str], word: str
) -> None:
    uuid = make_image("pier", description="The pier at noon")
    gallery.open(f"?image={uuid}")
    dialog = gallery.page.get_by_role("dialog")

    expect(dialog).to_contain_text(f"pier-{word}.jpg")
    expect(dialog).to_contain_text("The pier at noon")
    expect(dialog).to_contain_text("320 × 240")
    expect(dialog.locator(".palette button").first).to_be_visible()
    known = api("GET", f"/images/{uuid}").json()
    digests = [known["sha256"], *(known["metadata"][name] for name in ("perceptualHash", "thumbHash", "blurHash"))]
    expect(dialog.locator(".hash")).to_have_text([each for each in digests if each])
    gallery.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    dialog.get_by_role("button", name="Copy the address of thumbnail").click()
    copied = wait_for(lambda: gallery.page.evaluate("navigator.clipboard.readText()"), bool)
    assert requests.get(copied, timeout=10).headers["Content-Type"] == "image/jpeg"

    dialog.get_by_role("button", name="Make larger versions").click()
    expect(dialog.get_by_role("button", name="Copy the address of medium")).to_be_visible(timeout=30 * SECONDS)


def test_a_deletion_can_be_undone_for_some_seconds(
    gallery: Gallery, api: Api, make_image: Callable[..., str], word: str
) -> None:
    kept, gone = make_image("kept"), make_image("gone")
    gallery.page.clock.install()
    gallery.open(f"?search={word}")
    gallery.tile("kept").get_by_role("link").click()
    gallery.page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    gallery.page.get_by_role("button", name="Undo").click()
    gallery.open(f"?search={word}&image={gone}")
    gallery.page.get_by_role("dialog").get_by_role("button", name="Delete").click()

    expect(gallery.page.get_by_role("button", name="Undo")).to_be_visible()
    gallery.page.clock.run_for(10 * SECONDS)
    expect(gallery.page.get_by_role("button", name="Undo")).to_have_count(0, timeout=15 * SECONDS)
    wait_for(lambda: api("GET", f"/images/{gone}").status_code, lambda status: status == 404)
    assert api("GET", f"/images/{kept}").status_code == 200


def test_a_deletion_is_carried_out_when_the_page_is_left(
    gallery: Gallery, api: Api, make_image: Callable[..., str], word: str
) -> None:
    gone = make_image("gone")
    gallery.open(f"?search={word}")
    gallery.page.get_by_role("checkbox", name=f"Select gone-{word}.jpg").check()
    gallery.page.get_by_role("button", name="Delete").click()
    expect(gallery.tile("gone")).to_have_count(0)
    gallery.page.goto("about:blank")

    wait_for(lambda: api("GET", f"/images/{gone}").status_code, lambda status: status == 404)
    gallery.open()


def test_collections_are_made_filled_emptied_and_deleted(
    gallery: Gallery, make_image: Callable[..., str], word: str
) -> None:
    make_image("one")
    make_image("two")
    page = gallery.page
    gallery.open(f"?search={word}")
    for name in ("one", "two"):
        page.get_by_role("checkbox", name=f"Select {name}-{word}.jpg").check()
    page.get_by_role("button", name="Add to collection").click()
    dialog = page.get_by_role("dialog", name="Choose a collection")
    dialog.get_by_label("Name").fill(f"Trip {word}")
    dialog.get_by_role("button", name="Create").click()
    expect(dialog).to_have_count(0)

    page.get_by_role("link", name="Collections", exact=True).click()
    page.get_by_role("link", name=f"Trip {word}").click()
    expect(page.locator("li.tile")).to_have_count(2)
    page.get_by_role("checkbox", name=f"Select one-{word}.jpg").check()
    page.get_by_role("button", name="Remove from this collection").click()
    expect(page.locator("li.tile")).to_have_count(1)

    page.get_by_role("button", name="Rename or describe").click()
    dialog = page.get_by_role("dialog", name="Rename or describe")
    dialog.get_by_label("Name").fill(f"Journey {word}")
    dialog.get_by_label("Description").fill("By train")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", name=f"Journey {word}")).to_be_visible()
    expect(page.get_by_role("main")).to_contain_text("By train")

    page.get_by_role("button", name="Delete collection").click()
    dialog = page.get_by_role("dialog", name="Delete this collection?")
    expect(dialog).to_contain_text("Its pictures stay in the library")
    dialog.get_by_role("button", name="Delete collection").click()
    expect(page).to_have_url(f"{gallery.url}/?view=collections")
    expect(page.get_by_role("link", name=f"Journey {word}")).to_have_count(0)
    gallery.open(f"?search={word}")
    expect(page.locator("li.tile")).to_have_count(2)


def test_every_collection_is_reached_and_covers_are_fetched_only_where_one_looks(
    gallery: Gallery, api: Api, make_image: Callable[..., str], word: str
) -> None:
    names = [f"{word} {number}" for number in range(130)]
    for name in names:
        api("POST", "/collections", json={"name": name})
    asked: list[str] = []
    gallery.page.on("request", lambda request: asked.append(urlsplit(request.url).path))
    gallery.open("?view=collections")
    expect(gallery.page.get_by_role("link", name=names[-1])).to_be_visible()
    gallery.page.wait_for_load_state("networkidle")
    assert asked.count("/api/v1/collections") == 1
    assert len([path for path in asked if path.startswith("/api/v1/collections/")]) < 40

    for _ in range(60):
        if gallery.page.get_by_role("link", name=f"{names[0]} ").count():
            break
        gallery.page.mouse.wheel(0, 4000)
        gallery.page.wait_for_timeout(100)
    expect(gallery.page.get_by_role("link", name=f"{names[0]} ")).to_be_visible()

    make_image("one")
    gallery.open(f"?search={word}")
    gallery.tile("one").get_by_role("checkbox").check()
    gallery.page.get_by_role("button", name="Add to collection").click()
    dialog = gallery.page.get_by_role("dialog", name="Choose a collection")
    dialog.get_by_label("Search collections").fill(names[17])
    dialog.get_by_role("button", name=names[17]).click()
    expect(gallery.page.get_by_text(f"Added 1 picture to {names[17]}")).to_be_visible()


def test_the_main_path_needs_no_mouse(gallery: Gallery, make_image: Callable[..., str], word: str) -> None:
    for name in ("first", "second", "third"):
        make_image(name)
    page = gallery.page
    gallery.open()
    page.keyboard.press("/")
    page.keyboard.type(word)
    expect(page).to_have_url(f"{gallery.url}/?search={word}")
    expect(page.locator("li.tile")).to_have_count(3)
    for _ in range(20):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.dataset.image"):
            break
    expect(gallery.tile("third").get_by_role("link")).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(gallery.tile("second").get_by_role("link")).to_be_focused()

    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text(f"second-{word}.jpg")
    page.keyboard.press("ArrowRight")
    expect(dialog).to_contain_text(f"first-{word}.jpg")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(gallery.tile("first").get_by_role("link")).to_be_focused()

    page.keyboard.press("Space")
    expect(page.get_by_role("region", name="1 selected")).to_be_visible()
    page.keyboard.press("Delete")
    expect(page.locator("li.tile")).to_have_count(2)


def make_photo_about(texts: Sequence[str]) -> bytes:
    """Encode a photo whose EXIF and XMP have these texts."""
    exif, text = Image.Exif(), " ".join(texts)
    for tag in (ExifTags.Base.Make, ExifTags.Base.Model, ExifTags.Base.ImageDescription, ExifTags.Base.Artist):
        exif[tag] = text.encode("ascii", "replace").decode()
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.LensModel] = texts[0].encode("ascii", "replace").decode()
    title = f"<rdf:li xml:lang='x-default'>{escape(text)}</rdf:li>"
    return make_photo(64, 48, exif=exif, xmp=XMP.format(title=title).encode())


@pytest.mark.timeout(120)
def test_no_text_of_an_image_or_a_collection_ever_runs(gallery: Gallery, api: Api, word: str) -> None:
    """The gallery's fixture fails for any dialog, error in the script, or violation of the policy."""
    assert len(SCRIPTS) >= 100
    uuids = []
    for number in range(0, len(SCRIPTS), IN_ONE_IMAGE):
        texts = SCRIPTS[number : number + IN_ONE_IMAGE]
        name = " ".join(texts).replace("/", "_")[:200]
        uuids.append(api.upload(make_photo_about(texts), f"{name}{word}.jpg", description="\n".join(texts)))
    body = {"name": SCRIPTS[0], "description": "\n".join(SCRIPTS)}
    collection = api("POST", "/collections", json=body).json()["data"]["uuid"]
    for uuid in uuids:
        assert api.await_end(uuid)["status"] == "succeeded"
    api("POST", "/images/actions/move", json={"uuids": uuids, "collectionId": collection})
    page = gallery.page
    for query in (f"?collection={collection}", "?view=collections"):
        gallery.open(query)
        expect(page.get_by_text(SCRIPTS[0]).first).to_be_visible()
    gallery.open(f"?search={word}")
    expect(page.locator("li.tile img.loaded").first).to_be_visible()
    expect(page.locator("li.tile").first).to_have_attribute("aria-setsize", f"{len(uuids)}")
    page.locator("li.tile a").first.click()
    for uuid in reversed(uuids):
        expect(page).to_have_url(re.compile(uuid))
        expect(page.locator(".details dl").first).to_contain_text("(")  # what EXIF says of the camera
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")


@pytest.mark.parametrize(("theme", "language"), [("light", "en"), ("dark", "ar")])
def test_no_page_has_an_accessibility_violation(
    gallery: Gallery, api: Api, make_image: Callable[..., str], theme: str, language: str
) -> None:
    uuid = make_image("shore")
    gallery.choose(theme, language)

    assert accessibility.look_at_library(gallery, api, uuid) == []
    assert gallery.page.evaluate("document.documentElement.lang") == language


def test_an_outage_is_told_and_tried_again(gallery: Gallery, make_image: Callable[..., str], word: str) -> None:
    make_image("later")
    gallery.open()
    gallery.page.context.set_offline(True)
    gallery.page.get_by_role("searchbox").fill(word)
    expect(gallery.page.get_by_role("alert")).to_contain_text("cannot be reached")
    gallery.page.context.set_offline(False)
    gallery.page.get_by_role("button", name="Try again").click()

    expect(gallery.tile("later")).to_have_count(1)


def test_a_page_whose_script_cannot_be_fetched_says_so_and_tries_again(gallery: Gallery) -> None:
    page = gallery.page
    gallery.open()
    page.get_by_role("heading", level=1).wait_for()
    page.context.set_offline(True)
    page.get_by_role("link", name="Playground").click()
    expect(page.get_by_role("main").get_by_role("alert")).to_contain_text("cannot be reached")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()

    expect(page.get_by_role("heading", name="Recipe playground")).to_be_visible()


def test_the_page_fits_a_phone(gallery: Gallery, make_image: Callable[..., str], word: str) -> None:
    uuid = make_image("small")
    gallery.page.set_viewport_size({"width": 320, "height": 640})  # WCAG's narrowest: 1,280 enlarged four times
    for query in ("", "?view=collections", f"?search={word}", f"?image={uuid}"):
        gallery.open(query)
        gallery.page.wait_for_load_state("networkidle")
        assert gallery.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), query


@pytest.mark.parametrize("width", [320, 1280])
def test_what_is_at_the_lower_edge_leaves_room_for_each_other(
    gallery: Gallery, make_image: Callable[..., str], word: str, width: int
) -> None:
    make_image("gone")
    make_image("kept")
    page = gallery.page
    page.set_viewport_size({"width": width, "height": 740})
    gallery.choose("light", "de")  # it has the longest labels
    gallery.open(f"?search={word}")
    gallery.choose_files(**{f"notes-{word}_txt": b"no image"})
    for name in ("gone", "kept"):
        gallery.tile(name).get_by_role("checkbox").check()
        if name == "gone":
            page.keyboard.press("Delete")
    parts = [page.locator(each) for each in (".uploads", ".toast", ".selection")]  # from above
    for part in parts:
        expect(part).to_be_in_viewport(ratio=1)
    boxes = [part.bounding_box() for part in parts]

    for upper, lower in itertools.pairwise(boxes):
        assert upper
        assert lower
        assert upper["y"] + upper["height"] <= lower["y"]


def test_a_service_that_needs_credentials_is_asked_with_a_key(
    context: BrowserContext, guarded: Platform, admin_key: str, word: str, tmp_path: Path
) -> None:
    gallery = Gallery(context.new_page(), guarded.url)
    gallery.open()
    dialog = gallery.page.get_by_role("dialog", name="Sign in")
    dialog.get_by_label("API key or token").fill("imgp_wrong")
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog.get_by_role("alert")).to_contain_text("does not accept")
    dialog.get_by_label("API key or token").fill(admin_key)
    dialog.get_by_role("button", name="Sign in").click()
    expect(dialog).to_have_count(0)

    gallery.choose_files(**{f"private-{word}_jpg": make_photo()})
    tile = gallery.await_picture(f"private-{word}.jpg")
    expect(tile.locator("img")).to_have_attribute("src", re.compile("^blob:"))
    tile.get_by_role("link").click()
    with gallery.page.expect_download() as download:
        gallery.page.get_by_role("button", name="Download large").click()
    download.value.save_as(tmp_path / "large.webp")
    assert (tmp_path / "large.webp").read_bytes()[:4] == b"RIFF"
    gallery.page.keyboard.press("Escape")
    private = connect(guarded, admin_key)
    private.await_end(private.upload(make_photo(1600, 1200), f"bare-{word}.jpg"))
    gallery.page.get_by_role("searchbox").fill(f"bare-{word}")
    signed = re.compile(r"^/i/(?!unsafe)\S+/w=400,exp=\d+/[\w-]+\.webp$")
    expect(gallery.tile(f"bare-{word}.jpg").locator("img.loaded")).to_have_attribute("src", signed)
    assert gallery.page.evaluate("violations") == []
    assert gallery.page.evaluate("JSON.stringify(localStorage)").find(admin_key) < 0


def test_what_is_shared_of_a_guarded_image_works_without_a_key(
    context: BrowserContext, guarded: Platform, admin: Api, admin_key: str, word: str
) -> None:
    uuid = admin.upload(make_photo(1000, 600), f"shared-{word}.jpg", description='A "pier" [1]')
    admin.await_end(uuid)
    page = context.new_page()
    gallery = Gallery(page, guarded.url)
    gallery.sign_in(admin_key, f"?image={uuid}")
    page.get_by_role("button", name="Share").click()
    dialog = page.get_by_role("dialog", name="Share this picture")
    snippet = dialog.locator("pre")
    found: dict[str, str] = {}
    for form in ("Address", "HTML, in several widths", "HTML, in several formats", "Markdown"):
        dialog.get_by_label("As").select_option(form)
        dialog.get_by_label("Valid for").select_option("1 day")
        expect(snippet).to_contain_text("/i/")
        found[form] = snippet.inner_text()
        for url in re.findall(r"https?://[^\s\")]+", found[form]):
            response = requests.get(url, timeout=30)
            assert response.status_code == 200, (form, url, response.text)
            assert response.headers["Content-Type"].startswith("image/")

    assert 'alt="A &#34;pier&#34; [1]"' in found["HTML, in several formats"]
    assert found["Markdown"].startswith('![A "pier" \\[1\\]](')
    shown = context.new_page()
    shown.goto(re.findall(r"https?://\S+w=1000\S+\.avif", found["HTML, in several formats"])[0])
    assert shown.evaluate("document.images[0].naturalWidth") == 1000
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    dialog.get_by_role("button", name="Copy").click()
    assert wait_for(lambda: page.evaluate("navigator.clipboard.readText()"), bool) == found["Markdown"]


def test_the_button_says_so_if_a_key_may_not_share(
    context: BrowserContext, guarded: Platform, admin: Api, make_key: Callable[..., str], word: str
) -> None:
    uuid = admin.upload(make_photo(1000, 600), f"seen-{word}.jpg")
    admin.await_end(uuid)
    page = context.new_page()
    Gallery(page, guarded.url).sign_in(make_key("viewer"), f"?image={uuid}")
    page.get_by_role("button", name="Share").click()
    dialog = page.get_by_role("dialog", name="Share this picture")

    expect(dialog.get_by_role("button", name="Your key may not share this")).to_be_disabled()
    expect(dialog.get_by_role("alert")).to_contain_text("images:share")


def test_the_dialog_for_a_key_says_where_it_comes_from_and_a_button_forgets_it(
    context: BrowserContext, guarded: Platform, admin_key: str
) -> None:
    gallery = Gallery(context.new_page(), guarded.url)
    gallery.open()
    dialog = gallery.page.get_by_role("dialog", name="Sign in")
    expect(dialog).to_contain_text("Whoever runs the service makes keys")
    expect(dialog.get_by_role("link", name="How keys are made")).to_have_attribute("href", "/api-docs/#/keys")
    gallery.sign_in(admin_key)
    gallery.page.reload()
    expect(gallery.page.get_by_role("heading", level=1)).to_be_visible()
    gallery.page.get_by_role("button", name="Sign out").click()

    expect(dialog).to_be_visible()
    expect(gallery.page.get_by_role("button", name="Sign out")).to_have_count(0)


def test_a_language_from_right_to_left_mirrors_the_page(
    gallery: Gallery, make_image: Callable[..., str], word: str
) -> None:
    for name in ("first", "second"):
        make_image(name)
    page = gallery.page
    gallery.open(f"?search={word}")
    page.get_by_role("combobox", name="Language").select_option("ar")

    expect(page.locator("html")).to_have_attribute("dir", "rtl")
    expect(page.get_by_role("status").filter(has_text="صورتان")).to_be_visible()  # the dual
    second, first = (gallery.tile(name) for name in ("second", "first"))  # newest first
    boxes = [tile.bounding_box() for tile in (second, first)]
    assert boxes[0]
    assert boxes[1]
    assert boxes[0]["x"] > boxes[1]["x"]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    second.get_by_role("link").focus()
    page.keyboard.press("ArrowLeft")
    expect(first.get_by_role("link")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".details h2")).to_have_text(f"second-{word}.jpg")
    page.keyboard.press("Escape")
    page.reload()
    expect(page.locator("html")).to_have_attribute("dir", "rtl")
