"""THIRD_PARTY.md lists everything that container images contain, with licenses. None is under the GPL."""

import re
from importlib import metadata

import pytest
from service import ROOT

DOCUMENT = (ROOT / "THIRD_PARTY.md").read_text()
GPL = re.compile(r"(?<!L)(?<!Lesser )(GPL|GNU General Public)")


def normalized(package: str) -> str:
    return package.lower().replace("_", "-")


def listed(section: str) -> dict[str, str]:
    [text] = re.findall(rf"^## {section}\n(.*?)(?=^## )", DOCUMENT, re.MULTILINE | re.DOTALL)
    return {normalized(name): each for name, each in re.findall(r"^\| ([\w-]+) \| ([^|]+) \|", text, re.MULTILINE)}


def license_of(package: str, field: str) -> list[str]:
    return metadata.metadata(package).get_all(field, [])


def required(file: str) -> set[str]:
    return set(re.findall(r"^([\w-]+)==", (ROOT / file).read_text(), re.MULTILINE))


@pytest.mark.parametrize(
    ("section", "file"), [("Python packages", "requirements.txt"), ("Codecs apart", "requirements-codecs.txt")]
)
def test_every_package_is_listed_with_its_license(section: str, file: str) -> None:
    packages = {name: text for name, text in listed(section).items() if name != "package"}

    assert packages.keys() == required(file), f"bring THIRD_PARTY.md up to date with {file}"
    for name, written in packages.items():
        assert license_of(name, "License-Expression") in ([], [written.strip()]), name


def test_no_package_in_requirements_is_under_the_gpl() -> None:
    for name in required("requirements.txt"):
        licenses = [
            text for field in ("License-Expression", "License", "Classifier") for text in license_of(name, field)
        ]
        assert not [each for each in licenses if GPL.search(each[:200])], name
    assert not [text for text in listed("Python packages").values() if GPL.search(text)]


def test_images_have_no_wheel_under_the_gpl_by_default() -> None:
    dockerfile = (ROOT / "functions/Dockerfile").read_text()
    installed = re.findall(r"pip [^&\n]*?(?:install|wheel) [^&\n]*", dockerfile.replace("\\\n", " "))

    assert [each for each in installed if "-r requirements-codecs.txt" in each] == []
    assert all("--no-binary pillow-heif" in each for each in installed if "-r pillow-heif.txt" in each)
    assert "ARG JPEG_XL=no\n" in dockerfile
    [optional] = [each for each in dockerfile.split("RUN ") if "-r pillow-jxl-plugin.txt" in each]
    assert optional.startswith('test "$JPEG_XL" != yes')
