"""Write docs/dialects.md: the options of other services' URLs that are understood here, and those that are not."""

from pathlib import Path

from infra.functions import ROOT
from shared_lib.delivery.imgproxy import options as imgproxy
from shared_lib.delivery.thumbor import filters as thumbor

DIALECTS = ROOT / "docs" / "dialects.md"
HEAD = """# URLs of other services

Written by `make contracts`. Do not edit.

`GET /imgproxy/…` takes the URLs that clients of [imgproxy](https://imgproxy.net) write, and answers with the same size,
format, status and text. What it makes is stored and found like the renditions of [our own URLs](delivery.md): the same
rendition is made once, whichever dialect asks for it. Behaviors follow version 4.0 of its open-source edition.

A host whose name begins with `imgproxy.` serves these URLs at its root, and one that begins with `thumbor.` those of
thumbor: `http://imgproxy.localhost:5000/…` with `make run`. So do the nginx edge and Compose. With the Gateway API,
such a host needs an HTTPRoute of its own ([deploy](deploy.md#hosts-of-imgproxy-and-thumbor)).

## Sources

A source is a stored image: `image://<uuid>`, the `<uuid>` alone, or `s3://<upload bucket>/<uuid>`, plain or in
base64url. A file name after the uuid is ignored: `image://<uuid>/cat.jpg`. Other sources get 404 `Invalid source URL`.

## Settings

They have imgproxy's names: `IMGPROXY_KEY`, `IMGPROXY_SALT` (comma-separated lists of equal length),
`IMGPROXY_SIGNATURE_SIZE`, `IMGPROXY_AUTO_WEBP`, `IMGPROXY_AUTO_AVIF`, `IMGPROXY_TTL`, `IMGPROXY_PRESETS`
(`name=option:argument/option:argument,name=…`; `default` applies to every URL), `IMGPROXY_ONLY_PRESETS`,
`IMGPROXY_WATERMARK_URL` (`image://<uuid>`) and `IMGPROXY_WATERMARK_OPACITY`. Without keys, URLs are refused, unless
unsigned URLs are allowed (`DELIVERY_UNSIGNED=true` or `AUTH_MODE=anonymous`).

`preset` also takes the name of a [preset](delivery.md#presets) that was made at run time, or of a built-in one, if
`IMGPROXY_PRESETS` has none of that name. It is a whole recipe. So it goes with no other preset, and only with `format`,
`expires`, `filename`, `return_attachment` and `cachebuster`. Caches keep it like our own URLs, and purge it with the
preset. thumbor has no presets.

## Options of imgproxy

Tests of all options are in `tests/delivery/test_imgproxy.py`. `tests/clients/test_imgproxy_clients.py` requests what
the npm packages `@imgproxy/imgproxy-node` 1.1.0 and `@bitpatty/imgproxy-url-builder` 2.1.0 write for each of their
options. Of those of the open-source edition, two are refused, as there: `skip_processing` of the first, which it writes
as `sp`, and `zoom` with two factors of the second, between which it writes a space.

| option | |
|---|---|
"""
TAIL = """
Options of imgproxy Pro are refused, as its open-source edition does.

## Departures

* `HEAD` answers like `GET`, without a body. imgproxy answers 200 to any.
* A refused URL has `Cache-Control: no-store`. imgproxy sends no such header.
* ETags are our own. `Content-Disposition` names the image by its uuid unless the URL has a `filename`.
* An SVG becomes PNG unless the URL or `Accept` says otherwise. imgproxy passes it on.
* `gravity:sm` chooses by our measure of attention.
* What `trim` or `auto_rotate:0` leaves has a size that is only known when pixels are read. So they don't go with
  offsets, crops by shares, `min-width`, `min-height` and `extend_aspect_ratio`, nor with `zoom` and `dpr` alone. `auto`
  then chooses by the upright original.
* `watermark` lays on one stored image, `IMGPROXY_WATERMARK_URL`, which is scaled down if it does not fit. Tiles have
  the same distance in both directions. Without that setting the option does nothing, as there.
* `raw` and `skip_processing` send the original with all its metadata. Where URLs need no signature, they only do so
  with `AUTH_MODE=anonymous`: `raw` is then refused with 403, and `skip_processing` does nothing.
* `skip_processing` goes by the stored original's format, and does nothing for `ico`, which is no format here.
* `blur` and `sharpen` below 0.3 change nothing. Beyond 100 and 10, they are refused.
* `max_bytes` takes the best quality that fits, at least 1,000 bytes. imgproxy tries a few qualities.
* Numbers beyond our limits are refused: sides over 8,192 px, results over 20 megapixels.
* BMP, ICO, HEIC and SVG can't be written.
* A text that is no boolean counts as false, as there. An option that is not understood is refused with 404, as there.
"""


THUMBOR = """
## thumbor

`GET /thumbor/…` takes the URLs that clients of [thumbor](https://www.thumbor.org) 7 write: crop, the four kinds of
`fit-in`, sizes with `orig` and `-`, alignment, `smart`, and filters. The image is a stored image's uuid, with or
without dashes and a name after it: `/thumbor/unsafe/300x200/smart/<uuid>/cat.jpg`. `THUMBOR_SECURITY_KEY` is thumbor's
`SECURITY_KEY`, of at least 16 characters. Without it URLs are refused, unless unsigned ones are allowed. Errors have
thumbor's status and no text: 400 for a wrong signature, 404 for a missing image. `THUMBOR_MAX_AGE` is its `MAX_AGE`.

Any URL has a recipe or is refused, and never fails otherwise: 500 generated ones. Tests are in
`tests/delivery/test_thumbor.py`. `make compare-thumbor` requests 219 URLs from thumbor 7.8.0 and from us.
Status, size and format are equal in all but one, and the pixels in 202 of them (SSIM of at least 0.95). It prints the
others with the reason, and fails if there is one without.

| filter | |
|---|---|
"""
THUMBOR_TAIL = """
`THUMBOR_AUTO_WEBP`, `THUMBOR_AUTO_AVIF`, `THUMBOR_AUTO_JPG` and `THUMBOR_AUTO_PNG` choose a format by `Accept`, in this
order, unless the URL has the filter `format`. The images of `watermark` and `frame` are uuids, too.

Departures:

* Filters that thumbor does not know are ignored, and so are arguments that don't match, as there.
* Images are upright before anything else, as with `RESPECT_ORIENTATION`. EXIF is always removed.
* `smart` chooses by our measure of attention, and by the points of `focal` if there are some. There are no detectors.
* What `trim` leaves is not known before it is made. So `trim` goes with a size of numbers and without `adaptive`, a URL
  with a crop is not trimmed, and `/meta/` and filters that need the size are refused after it.
* `/meta/` tells one frame, and has no `callback`.
* There is no `/image` to upload to: thumbor's clients need no credentials, and expect the image at once. Upload by our
  API, and use the uuid.
* `noise` is Gaussian noise of the same strength, and `sharpen` an unsharp mask on lightness alone. `round_corner` fills
  everything that is transparent with its color.
* `watermark` fits the image into which it is laid. `repeat` leaves no space between the tiles.
* `extract_focal` works. thumbor 7.8 encodes the colon of the inner URL's crop, and then doesn't find it.
* Enlarging is bicubic here and by Lanczos 3 there (SSIM 0.92 and more). thumbor decodes fewer pixels of a JPEG that
  becomes much smaller (0.84 and more for the fur of a cat).
* Numbers beyond our limits are refused or cut: 8,192 px, a matrix of 15 x 15, a `blur` of 100.
* `max_bytes` takes the best quality that fits. thumbor tries a few. `heic` and `heif` can't be written.
* An animated GIF stays animated unless it is trimmed or cut by `smart`, and no other format is chosen for a GIF.
* ETags are our own. A rendition that takes too long gets 503, and too many new ones of an image get 429.
"""


def generate() -> dict[Path, str]:
    by_effect: dict[object, list[str]] = {imgproxy.PRESET: sorted(imgproxy.PRESET, reverse=True)}
    for name, apply in imgproxy.OPTIONS.items():
        by_effect.setdefault(apply, []).append(name)
    ignored = {names.split()[0]: f", without effect: {reason}" for names, reason in imgproxy.IGNORED.items()}
    rows = [f"| `{'`, `'.join(names)}` | understood{ignored.get(names[0], '')} |\n" for names in by_effect.values()]
    rows.append(f"| `{'`, `'.join(sorted(imgproxy.SECURITY))}` | refused with 403: URLs don't set limits |\n")
    filters = [f"| `{name}` | understood |\n" for name in thumbor.FILTERS]
    return {DIALECTS: HEAD + "".join(sorted(rows)) + TAIL + THUMBOR + "".join(sorted(filters)) + THUMBOR_TAIL}
