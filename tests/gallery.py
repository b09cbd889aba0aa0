"""The gallery's page in a browser, as a user sees it."""

import re
from dataclasses import dataclass

from playwright.sync_api import FilePayload, Locator, Page, expect
from service import ROOT

AXE = ROOT / "web/node_modules/axe-core/axe.min.js"
RECORD_VIOLATIONS = """
globalThis.violations = []
document.addEventListener("securitypolicyviolation", ({violatedDirective, blockedURI}) =>
    violations.push(`${violatedDirective} ${blockedURI}`))
"""
SECONDS = 1000  # in milliseconds, as Playwright takes them


@dataclass
class Gallery:
    page: Page
    url: str

    def open(self, query: str = "") -> None:
        self.page.goto(f"{self.url}/{query}")

    def sign_in(self, key: str, query: str = "") -> None:
        """Open a page of a service that needs credentials, with a key."""
        self.open(query)
        dialog = self.page.get_by_role("dialog", name="Sign in")
        dialog.get_by_label("API key or token").fill(key)
        dialog.get_by_role("button", name="Sign in").click()
        expect(dialog).to_have_count(0)

    def choose(self, theme: str, language: str) -> None:
        """Set what the browser remembers of the user's choices."""
        self.open()
        self.page.evaluate("([theme, language]) => Object.assign(localStorage, {theme, language})", [theme, language])

    def tile(self, filename: str) -> Locator:
        return self.page.locator("li.tile", has_text=filename)

    def upload_row(self, filename: str) -> Locator:
        return self.page.locator("li.upload", has_text=filename)

    def choose_files(self, **files: bytes) -> None:
        """Upload files, named `name_jpg` for `name.jpg`."""
        self.page.locator("header input[type=file]").first.set_input_files(
            [FilePayload(name=_as_filename(name), mimeType="", buffer=data) for name, data in files.items()]
        )

    def await_picture(self, filename: str) -> Locator:
        """Wait until a tile shows the image that the service made."""
        tile = self.tile(filename)
        expect(tile).to_have_class(re.compile("succeeded"), timeout=30 * SECONDS)
        expect(tile.locator("img.loaded")).to_have_attribute(
            "src", re.compile("renditions|/i/|blob:"), timeout=10 * SECONDS
        )
        return tile

    def find_violations(self) -> list[str]:
        """Return violations of WCAG 2.2 AA, with the elements."""
        if self.page.evaluate("!globalThis.axe"):
            self.page.evaluate(AXE.read_text())
        tags = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
        options = {"runOnly": tags, "resultTypes": ["violations"]}
        found = self.page.evaluate("async (options) => await axe.run(options)", options)
        return [
            f"{each['id']}: {node['html']}: {node['failureSummary']}"
            for each in found["violations"]
            for node in each["nodes"]
        ]


def _as_filename(name: str) -> str:
    return ".".join(name.rsplit("_", 1))
