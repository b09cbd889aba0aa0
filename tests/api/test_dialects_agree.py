"""The URLs that the playground writes for a recipe deliver what the recipe makes, in each dialect that can say it."""

import io
import json
import subprocess
from typing import Any

import pytest
import requests
from PIL import Image, ImageChops, ImageStat
from service import ROOT, Api, make_photo

RESIZE = {"kind": "resize", "width": 120, "height": 60}
KEPT = {"enlarge": False}
CROP = {"kind": "crop", "left": 30, "top": 20, "width": 160, "height": 120}
ALL = {"/i/", "imgproxy", "thumbor"}
RECIPES: list[tuple[list[dict[str, Any]], set[str]]] = [
    ([RESIZE], ALL),
    ([RESIZE | {"gravity": "north"}], ALL),
    ([RESIZE | {"gravity": "southeast"}], ALL),
    ([RESIZE | {"gravity": "smart"}], ALL),
    ([RESIZE | {"gravity": {"x": 0.25, "y": 0.75}}], {"/i/", "imgproxy"}),
    ([RESIZE | {"fit": "inside"} | KEPT], ALL),
    ([RESIZE | {"fit": "inside"}], {"/i/", "imgproxy"}),
    ([RESIZE | {"fit": "outside"}], {"/i/", "thumbor"}),
    ([RESIZE | {"fit": "fill"}], ALL),
    ([RESIZE | {"fit": "contain", "background": "#336699"}], {"/i/"}),
    ([RESIZE | {"fit": "contain", "background": "#336699"} | KEPT], {"/i/", "thumbor"}),
    ([RESIZE | {"fit": "contain"} | KEPT], {"/i/", "thumbor"}),
    ([RESIZE | {"fit": "contain", "background": "#33669980"} | KEPT], set()),
    ([RESIZE, {"kind": "flatten", "background": "#fff"}], {"imgproxy", "thumbor"}),
    ([{"kind": "resize", "width": 90}], ALL),
    ([{"kind": "resize", "height": 600} | KEPT], ALL),
    ([CROP], ALL),
    ([CROP, RESIZE | {"fit": "fill"}], ALL),
    ([{"kind": "rotate", "angle": 90}, {"kind": "flop"}], {"/i/", "imgproxy"}),
    ([{"kind": "flop"}, {"kind": "flip"}], ALL),
    ([RESIZE, {"kind": "flop"}], {"thumbor"}),
    ([RESIZE, {"kind": "rotate", "angle": 270}], {"thumbor"}),
    ([RESIZE, {"kind": "blur", "sigma": 2}], ALL),
    ([RESIZE, {"kind": "blur", "sigma": 2}, {"kind": "sharpen", "sigma": 1}], {"/i/", "imgproxy"}),
    ([RESIZE, {"kind": "grayscale", "model": "luma"}], {"thumbor"}),
    ([RESIZE, {"kind": "pixelate", "size": 8}], {"imgproxy"}),
    ([RESIZE, {"kind": "sepia"}], set()),
    ([RESIZE, RESIZE], set()),
    ([RESIZE | {"linear": True}], set()),
]
WRITE = """
import { DIALECTS } from "./urls.mjs"
const [recipes, uuid] = JSON.parse(process.argv[2])
const write = (recipe) => DIALECTS.map((each) => [each.name, each.prefix + each.unsigned, each.write(recipe, uuid)])
console.log(JSON.stringify(recipes.map(write)))
"""


@pytest.fixture(scope="module")
def image(api: Api) -> str:
    uuid = api.upload(make_photo())
    assert api.await_end(uuid)["status"] == "succeeded"
    return uuid


@pytest.fixture(scope="module")
def written(image: str, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, str]]:
    """Write URLs of all recipes as the page does: dialect → URL, for those that have one."""
    folder = tmp_path_factory.mktemp("urls")
    node = f"{ROOT / '.venv/bin/node'}"
    build = [node, "node_modules/.bin/esbuild", "src/playground/urls.ts", f"--outfile={folder}/urls.mjs"]
    subprocess.run(build, cwd=ROOT / "web", check=True, capture_output=True)
    (folder / "write.mjs").write_text(WRITE)
    recipes = [{"operations": operations, "output": {"format": "png"}} for operations, _ in RECIPES]
    command = [node, f"{folder}/write.mjs", json.dumps([recipes, image])]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return [{name: f"{start}/{said['path']}" for name, start, said in each if "path" in said} for each in found]


@pytest.mark.parametrize("number", range(len(RECIPES)), ids=[json.dumps(recipe) for recipe, _ in RECIPES])
def test_each_dialect_that_can_say_a_recipe_delivers_what_it_makes(
    api: Api, image: str, written: list[dict[str, str]], number: int
) -> None:
    operations, dialects = RECIPES[number]
    recipe = {"operations": operations, "output": {"format": "png"}}
    made = Image.open(io.BytesIO(api("POST", f"/images/{image}/preview", json=recipe).content)).convert("RGBA")

    assert written[number].keys() == dialects
    for dialect, path in written[number].items():
        response = requests.get(api.base.removesuffix("/api/v1") + path, timeout=30)
        assert response.status_code == 200, (dialect, path, response.text)
        delivered = Image.open(io.BytesIO(response.content)).convert("RGBA")
        assert max(abs(one - other) for one, other in zip(delivered.size, made.size, strict=True)) <= 1, (dialect, path)
        # A pixel more on one side, as rounding has it, is no difference.
        difference = ImageChops.difference(*(each.resize((8, 8), Image.Resampling.BOX) for each in (delivered, made)))
        assert max(ImageStat.Stat(difference).mean) < 4, (dialect, path)
