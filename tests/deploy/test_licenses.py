"""THIRD_PARTY.md names what is passed on with an image, and its license; nothing of it is under the GPL."""

import re
from importlib import metadata

import pytest
from service import ROOT

DOCUMENT = (ROOT / "THIRD_PARTY.md").read_text()
GPL = re.compile(r"(?<!L)(?<!Lesser )(GPL|GNU General Public)")


def listed(section: str) -> dict[str, str]:
    [text] = re.findall(rf"^## {section}\n(.*?)(?=^## )", DOCUMENT, re.MULTILINE | re.DOTALL)
    return dict(re.findall(r"^\| ([\w-]+) \| ([^|]+) \|", text, re.MULTILINE))


def stated(package: str, field: str) -> list[str]:
    return metadata.metadata(package).get_all(field, [])


def required(file: str) -> set[str]:
    return set(re.findall(r"^([\w-]+)==", (ROOT / file).read_text(), re.MULTILINE))


@pytest.mark.parametrize(
    ("section", "file"), [("Python packages", "requirements.txt"), ("Codecs apart", "requirements-codecs.txt")]
)
def test_every_package_is_listed_with_the_license_that_it_states(section: str, file: str) -> None:
    packages = {name: text for name, text in listed(section).items() if name != "package"}

    assert packages.keys() == required(file), f"bring THIRD_PARTY.md up to date with {file}"
    for name, written in packages.items():
        assert stated(name, "License-Expression") in ([], [written.strip()]), name


def test_no_package_of_every_image_is_under_the_gpl() -> None:
    for name in required("requirements.txt"):
        licenses = [text for field in ("License-Expression", "License", "Classifier") for text in stated(name, field)]
        assert not [each for each in licenses if GPL.search(each[:200])], name
    assert not [text for text in listed("Python packages").values() if GPL.search(text)]


def test_an_image_has_no_wheel_with_gpl_in_it_unless_asked() -> None:
    dockerfile = (ROOT / "functions/Dockerfile").read_text()
    installed = re.findall(r"pip [^&\n]*?install [^&\n]*", dockerfile.replace("\\\n", " "))

    assert [each for each in installed if "-r requirements-codecs.txt" in each] == []
    assert all("--no-binary pillow-heif" in each for each in installed if each.rstrip().endswith("pillow-heif"))
    assert "ARG JPEG_XL=no\n" in dockerfile
    [asked] = [each for each in dockerfile.split("RUN ") if "pillow-jxl-plugin" in each]
    assert asked.startswith('test "$JPEG_XL" != yes')
