"""Fill a service with thousands of images that share a few real pictures, by SQL."""

import json
from collections.abc import Iterator
from functools import partial
from io import BytesIO

from PIL import Image, ImageOps
from pydantic import SecretStr
from service import ROOT, Api, Platform, wait_for

from shared_lib import settings
from shared_lib.database.connection import Database

SHAPES = [(1600, 1200), (1200, 1600), (1600, 1067), (1600, 900), (1200, 1200)]
PHOTOS = sorted((ROOT / "tests/golden/photographs").glob("*.jpg"))
# What the gallery orders with an upload (web/src/api.ts).
SIDES = {"small": 400, "medium": 800, "large": 1600}

COLUMNS = """
SELECT string_agg(column_name, ', ') AS names, string_agg('made.' || column_name, ', ') AS made
FROM information_schema.columns WHERE table_name = :table AND is_generated = 'NEVER'
"""
COPIES = """
INSERT INTO {table} ({names})
SELECT {made} FROM generate_series(CAST(:first AS integer), CAST(:last AS integer)) AS n
JOIN (SELECT uuid AS template, row_number() OVER (ORDER BY uuid) - 1 AS place, count(*) OVER () AS places
      FROM images WHERE filename LIKE 'template%') AS templates ON place = n % places
JOIN {table} ON {table}.{identity} = template
CROSS JOIN LATERAL jsonb_populate_record({table}, jsonb_build_object({changes})) AS made
"""
WHEN = "now() - n * interval '1 s'"
COPY = "md5('copy ' || n)::uuid"


def upload_pictures(api: Api) -> None:
    """Upload the pictures that `copy_pictures` copies."""
    inside = {"kind": "resize", "fit": "inside", "enlarge": False}
    recipes = [
        {"name": name, "operations": [inside | {"width": side, "height": side}], "output": {"format": "auto"}}
        for name, side in SIDES.items()
    ]
    for number, photo in enumerate(_make_pictures()):
        uuid = api.upload(photo, f"template-{number}.jpg", renditions=json.dumps(recipes))
        assert api.await_end(uuid)["status"] == "succeeded"
        wait_for(partial(_list_pending, api, uuid), lambda names: not names)


def copy_pictures(platform: Platform, numbers: range) -> None:
    """Make an image of each number, with the renditions of an uploaded picture. The service must be a test's own."""
    url = platform.environment["DATABASE_URL"].replace("//images_owner@/", "//postgres@/")
    database = Database(settings.Database(url=SecretStr(url)))
    for table, identity, changes in (
        ("images", "uuid", f"'uuid', {COPY}, 'filename', 'IMG_' || n || '.jpg', 'created_at', {WHEN}"),
        ("renditions", "image_id", f"'image_id', {COPY}"),
    ):
        with database.transaction() as tx:
            [columns] = tx.rows(COLUMNS, table=table)
            sql = COPIES.format(table=table, identity=identity, changes=changes, **columns)
            tx.rows(sql, first=numbers.start, last=numbers.stop - 1)
            tx.rows(f"ANALYZE {table}")
    database.disconnect()


def _list_pending(api: Api, uuid: str) -> list[str]:
    pending: list[str] = api("GET", f"/images/{uuid}").json()["pendingRenditions"]
    return pending


def _make_pictures() -> Iterator[bytes]:
    for number, path in enumerate(PHOTOS * 4):
        with Image.open(path) as photo, BytesIO() as file:
            ImageOps.fit(photo.convert("RGB"), SHAPES[number % len(SHAPES)]).save(file, "JPEG", quality=85 + number % 5)
            yield file.getvalue()
