"""The recipe playground in a browser, on the real service."""

import io
import json
import re
from collections.abc import Callable
from typing import Any

import accessibility
import pytest
import requests
from gallery import SECONDS, Gallery
from issuer import Issuer
from PIL import Image, ImageChops
from playwright.sync_api import BrowserContext, Locator, Page, expect
from pydantic import SecretStr
from service import Api, Platform, make_photo, wait_for

from shared_lib import settings
from shared_lib.database.connection import Database
from shared_lib.repositories.tenants import Tenants
from shared_lib.web import openapi


class Playground:
    def __init__(self, page: Page) -> None:
        self.page = page

    def add(self, operation: str) -> Locator:
        """Add an operation, and return its fields."""
        self.page.get_by_label("Operation", exact=True).select_option(label=operation)
        self.page.get_by_role("button", name="Add", exact=True).click()
        return self.page.locator(".steps fieldset").last

    def await_preview(self) -> Image.Image:
        """Wait until the picture is that of the recipe, and return it."""
        expect(self.page.locator("figure.making")).to_have_count(0)
        shown = self.page.get_by_role("img", name="After")
        drawn = shown.evaluate(
            """async (shown) => {
                await shown.decode()
                const canvas = new OffscreenCanvas(shown.naturalWidth, shown.naturalHeight)
                canvas.getContext("2d").drawImage(shown, 0, 0)
                return [...new Uint8Array(await (await canvas.convertToBlob()).arrayBuffer())]
            }"""
        )
        return Image.open(io.BytesIO(bytes(drawn)))

    def read(self, name: str) -> str:
        return self.page.locator(".snippet", has=self.page.get_by_role("heading", name=name, exact=True)).inner_text()

    def read_json(self) -> Any:
        return json.loads(self.read("JSON").removeprefix("JSON"))

    def read_url(self, dialect: str) -> str:
        return next(line for line in self.read(dialect).splitlines() if line.startswith("http"))


@pytest.fixture
def playground(gallery: Gallery, make_image: Callable[..., str]) -> Playground:
    gallery.open(f"?view=playground&image={make_image('tried')}")
    gallery.page.get_by_role("region", name="Recipe").wait_for()
    return Playground(gallery.page)


@pytest.fixture
def museum(guarded: Platform, trusted_issuer: Issuer) -> str:
    """Make a tenant, and return a token of one of its members."""
    database = Database(settings.Database(url=SecretStr(guarded.environment["DATABASE_URL"])))
    Tenants(database).create("museum")
    database.disconnect()
    return trusted_issuer.sign(iss=trusted_issuer.museum_url)


def test_a_recipe_is_built_by_form_and_its_rendition_is_seen_at_once(playground: Playground) -> None:
    page = playground.page
    assert playground.await_preview().size == (320, 240)
    resize = playground.add("Resize")
    resize.get_by_label("Width").fill("90")
    resize.get_by_label("Fit").select_option("inside")
    expect(page.locator("figcaption").last).to_contain_text("90 × 68")
    grayscale = playground.add("Grayscale")
    page.get_by_label("Format").select_option("webp")
    expect(page.locator("figcaption").last).to_contain_text("image/webp")
    expect(page.locator("figcaption").last).to_contain_text(re.compile(r"\d byte.* · [\d,]+ ms"))
    red, green, blue = playground.await_preview().convert("RGB").split()
    assert ImageChops.difference(red, ImageChops.lighter(green, blue)).point(lambda value: value > 3).getbbox() is None

    resizing = {"kind": "resize", "width": 90, "fit": "inside"}
    assert playground.read_json() == {"operations": [resizing, {"kind": "grayscale"}], "output": {"format": "webp"}}
    page.reload()
    page.get_by_role("region", name="Recipe").wait_for()
    assert playground.read_json()["operations"] == [resizing, {"kind": "grayscale"}], "the page's URL has the recipe"
    grayscale.get_by_role("button", name="Move Grayscale up").click()
    assert [each["kind"] for each in playground.read_json()["operations"]] == ["grayscale", "resize"]
    page.get_by_role("button", name="Remove Grayscale").click()
    assert playground.read_json()["operations"] == [resizing]


def test_a_recipe_that_cannot_be_made_says_why(playground: Playground) -> None:
    playground.add("Blur").get_by_label("Sigma").fill("500")

    expect(playground.page.get_by_role("alert")).to_have_text("1. Blur · Sigma: a number from 0.3 to 100")


def test_a_preview_that_an_outage_interrupts_comes_by_itself_once_it_is_over(playground: Playground) -> None:
    playground.await_preview()
    playground.page.context.set_offline(True)
    playground.add("Grayscale")
    expect(playground.page.get_by_role("alert")).to_contain_text("cannot be reached")
    playground.page.context.set_offline(False)

    expect(playground.page.get_by_role("alert")).to_have_count(0, timeout=10 * SECONDS)
    red, green, blue = playground.await_preview().convert("RGB").split()
    assert red.tobytes() == green.tobytes() == blue.tobytes()


def test_the_urls_of_all_dialects_deliver_what_was_previewed(playground: Playground) -> None:
    resize = playground.add("Resize")
    resize.get_by_label("Width").fill("120")
    resize.get_by_label("Height").fill("60")
    resize.get_by_label("Gravity").select_option("north")
    playground.page.get_by_label("Format").select_option("png")
    previewed = playground.await_preview()

    for dialect in ("/i/", "imgproxy", "thumbor"):
        delivered = requests.get(playground.read_url(dialect), timeout=30)
        assert delivered.status_code == 200, delivered.text
        assert Image.open(io.BytesIO(delivered.content)).size == previewed.size == (120, 60)
    assert requests.get(playground.read_url("/i/"), timeout=30).headers["Content-Type"] == "image/png"

    playground.add("Sepia")
    for dialect in ("/i/", "imgproxy", "thumbor"):
        expect(playground.page.locator(".snippet", has_text=dialect)).to_contain_text(
            "cannot say “Sepia” here. Save the recipe as a preset"
        )


def test_the_recipe_can_be_made_for_good(playground: Playground, api: Api) -> None:
    page = playground.page
    uuid = page.url.rpartition("=")[2]
    playground.add("Resize").get_by_label("Width").fill("70")
    page.get_by_label("Name", exact=True).fill("tiny")
    page.get_by_role("button", name="Make this rendition").click()

    made = wait_for(
        lambda: {each["name"]: each["width"] for each in api("GET", f"/images/{uuid}").json()["renditions"]},
        lambda renditions: "tiny" in renditions,
    )
    assert made["tiny"] == 70


def test_a_recipe_becomes_a_preset_that_has_a_url_whatever_it_does(playground: Playground, api: Api, word: str) -> None:
    page = playground.page
    playground.add("Sepia")
    playground.add("Resize").get_by_label("Width").fill("80")
    page.get_by_label("Format").select_option("png")
    previewed = playground.await_preview()
    page.get_by_label("Name", exact=True).fill(word)
    page.get_by_role("button", name="Save as preset").click()

    delivered = requests.get(playground.read_url(f"/i/ {word}"), timeout=30)
    assert Image.open(io.BytesIO(delivered.content)).tobytes() == previewed.convert("RGB").tobytes()
    [version] = api("GET", f"/presets/{word}").json()["data"]
    assert [each["kind"] for each in version["recipe"]["operations"]] == ["sepia", "resize"]
    assert api("DELETE", f"/presets/{word}").status_code == 200


def test_another_picture_is_chosen_by_its_name(
    playground: Playground, make_image: Callable[..., str], word: str
) -> None:
    other = make_image("other")
    page = playground.page
    playground.add("Grayscale")
    page.get_by_role("button", name="Choose another picture").click()
    dialog = page.get_by_role("dialog", name="Choose another picture")
    dialog.get_by_label("Search names and descriptions").fill(f"other-{word}")
    dialog.get_by_role("button", name=f"other-{word}.jpg").click()

    expect(dialog).to_have_count(0)
    expect(page).to_have_url(re.compile(f"image={other}"))
    assert playground.read_json()["operations"] == [{"kind": "grayscale"}], "the recipe stays"


def test_duotone_begins_with_two_colors(playground: Playground) -> None:
    fields = playground.add("Duotone")
    assert (
        fields.get_by_label("Shadow", exact=True).input_value()
        != fields.get_by_label("Highlight", exact=True).input_value()
    )
    expect(playground.page.locator(".snippet", has_text="thumbor")).to_contain_text("cannot say “Duotone” here")

    assert len(set(playground.await_preview().convert("L").resize((8, 8)).tobytes())) > 4, "it is no flat color"


def test_what_the_playground_says_is_in_plain_words(playground: Playground) -> None:
    page = playground.page
    expect(page.locator(".snippet", has=page.get_by_role("heading", name="/i/", exact=True))).to_contain_text(
        "Nothing to say yet"
    )
    for kind in page.locator("#kind option").evaluate_all("(found) => found.map((each) => each.value)"):
        page.locator("#kind").select_option(kind)
        expect(page.locator(".recipe form p")).not_to_contain_text("`")
    name = page.get_by_label("Name", exact=True)
    expect(name).to_have_attribute("title", "Small letters a to z, digits, - and _.")
    expect(page.get_by_text("Small letters a to z, digits, - and _.")).to_be_visible()


def test_every_operation_of_the_api_has_a_form_that_works(playground: Playground) -> None:
    """The forms come from the API's description. With what they begin with, each makes a picture."""
    page = playground.page
    schemas = openapi.load()["components"]["schemas"]
    kinds = schemas["Recipe"]["properties"]["operations"]["items"]["discriminator"]["mapping"]
    options = page.locator("#kind option").evaluate_all("(found) => found.map((each) => each.value)")
    assert sorted(options) == sorted(kinds)

    for kind in kinds:
        page.locator("#kind").select_option(kind)
        page.get_by_role("button", name="Add", exact=True).click()
        fields = set(schemas[kinds[kind].rpartition("/")[2]]["properties"]) - {"kind"}
        controls = page.locator(".steps").locator(".field, .flag")
        expect(controls).to_have_count(len(fields))
        page.get_by_role("button", name=re.compile("^Remove ")).click()


def test_the_playground_needs_no_mouse(playground: Playground) -> None:
    page = playground.page
    page.get_by_label("Operation", exact=True).focus()
    page.keyboard.type("resize")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Width")).to_be_focused()
    page.keyboard.press("Control+a")
    page.keyboard.type("77")
    expect(page.locator("figcaption").last).to_contain_text("77 × 58")
    for _ in range(20):
        if "Remove" in (page.evaluate("document.activeElement.ariaLabel") or ""):
            break
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.locator(".steps li")).to_have_count(0)
    expect(page.get_by_label("Operation", exact=True)).to_be_focused()


@pytest.mark.parametrize(("theme", "language"), [("light", "ar"), ("dark", "de")])
def test_the_playground_has_no_accessibility_violation_and_fits_a_phone(
    gallery: Gallery, make_image: Callable[..., str], theme: str, language: str
) -> None:
    uuid = make_image("seen")
    gallery.choose(theme, language)

    assert accessibility.look_at_playground(gallery, uuid) == []
    gallery.page.set_viewport_size({"width": 320, "height": 640})
    assert gallery.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_tenants_member_signs_in_with_a_token_and_gets_signed_urls(
    context: BrowserContext, guarded: Platform, museum: str, admin_key: str, word: str
) -> None:
    page = context.new_page()
    gallery = Gallery(page, guarded.url)
    gallery.open()
    page.get_by_label("API key or token").fill(museum)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_role("link", name="Playground").click()
    expect(page.get_by_role("heading", name="Nothing to try recipes on yet")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_count(0)
    page.get_by_role("link", name="Library").click()
    expect(page.get_by_role("heading", name="Your pictures go here")).to_be_visible()
    gallery.choose_files(**{f"own-{word}_jpg": make_photo()})
    gallery.await_picture(f"own-{word}.jpg").get_by_role("link").click()
    page.get_by_role("link", name="Try recipes").click()

    playground = Playground(page)
    playground.add("Resize").get_by_label("Width").fill("320")
    assert playground.await_preview().width == 320
    expect(page.locator(".snippet", has_text="/i/")).not_to_contain_text("unsafe", timeout=5 * SECONDS)
    assert requests.get(playground.read_url("/i/"), timeout=30).status_code == 200
    assert page.evaluate("violations") == []

    of_others = requests.get(f"{guarded.url}/api/v1/images?search={word}", headers={"X-API-Key": admin_key}, timeout=30)
    assert of_others.json() == []
