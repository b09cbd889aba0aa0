// Print the URLs that two clients of imgproxy write, with the width, height and format that each demands.
// The source has 200 x 100 px, and is a JPEG. Without a size, imgproxy refuses the option: it is one of its Pro edition.
//
//     node imgproxy.mjs SOURCE KEY SALT

import { createRequire } from "node:module";

const { generateImageUrl } = createRequire(import.meta.url)("@imgproxy/imgproxy-node");
const { default: build } = await import("@bitpatty/imgproxy-url-builder");
const [source, key, salt] = process.argv.slice(2);

const official = [
  [{ resize: { resizing_type: "fill", width: 60, height: 40, enlarge: 1 } }, 60, 40],
  [{ rs: { resizing_type: "fit", width: 50, height: 50, extend: { extend: true, gravity: { type: "nowe", y_offset: 5 } } } }, 50, 50],
  [{ size: { width: 50, height: 50, enlarge: false } }, 50, 25],
  [{ s: { width: 400, enlarge: "t" } }, 400, 200],
  [{ resizing_type: "force", width: 30, height: 70 }, 30, 70],
  [{ rt: "fill-down", w: 300, h: 300 }, 100, 100],
  [{ min_width: 150, h: 10 }, 150, 10],
  [{ mw: 10, mh: 40, w: 50 }, 50, 40],
  [{ zoom: { zoom_x: 2, zoom_y: 3 }, rt: "force", w: 40, h: 20 }, 80, 60],
  [{ zoom: 2, w: 20 }, 40, 20],
  [{ dpr: 2, width: 40 }, 80, 40],
  [{ enlarge: 1, width: 300 }, 300, 150],
  [{ extend: { extend: true }, width: 50, height: 50 }, 50, 50],
  [{ extend_aspect_ratio: { extend: true, gravity: { type: "fp", x: 0.5, y: 0.5 } }, width: 300, height: 125 }, 240, 100],
  [{ gravity: { type: "sm" }, resize: { resizing_type: "fill", width: 50, height: 50 } }, 50, 50],
  [{ gravity: { type: "fp", x: 0.1, y: 0.9 }, resize: { resizing_type: "fill", width: 50, height: 50 } }, 50, 50],
  [{ gravity: { type: "soea", x_offset: 3, y_offset: 4 }, resize: { resizing_type: "fill", width: 50, height: 50 } }, 50, 50],
  [{ crop: { width: 100, height: 50, gravity: { type: "we" } } }, 100, 50],
  [{ c: { width: 0.5, height: 0, gravity: { type: "sm" } }, w: 20 }, 20, 20],
  [{ trim: { threshold: 255, color: "ff00ff", equal_hor: 1, equal_ver: true }, w: 20 }, 20, 10],
  [{ padding: { top: 1, right: 2, bottom: 3, left: 4 }, width: 50 }, 56, 29],
  [{ pd: 5, w: 50 }, 60, 35],
  [{ auto_rotate: true }, 200, 100],
  [{ auto_rotate: false }, 200, 100],
  [{ rotate: 90 }, 100, 200],
  [{ flip: { horizontal: true, vertical: true } }, 200, 100],
  [{ background: { r: 255, g: 0, b: 10 } }, 200, 100],
  [{ bg: "f0f" }, 200, 100],
  [{ blur: 2, sharpen: 0.7, pixelate: 4 }, 200, 100],
  [{ watermark: { opacity: 0.5, position: "soea", x_offset: 10, y_offset: -5, scale: 0.2 } }, 200, 100],
  [{ wm: { opacity: 1, position: "re" } }, 200, 100],
  [{ strip_metadata: false, keep_copyright: true, strip_color_profile: false }, 200, 100],
  [{ preserve_hdr: true, enforce_thumbnail: true }, 200, 100],
  [{ quality: 50, format_quality: [{ format: "webp", quality: 40 }, { format: "jpg", quality: 30 }] }, 200, 100],
  [{ max_bytes: 3000 }, 200, 100],
  [{ skip_processing: ["png", "webp"], width: 50 }], // the client writes `sp`, which imgproxy does not know
  [{ raw: true }, 200, 100],
  [{ cachebuster: "x" }, 200, 100],
  [{ expires: 9999999999 }, 200, 100],
  [{ filename: { name: "cat" }, return_attachment: true }, 200, 100],
  [{ preset: ["tiny"] }, 20, 10, "WEBP"],
  [{ wild_options: [["w", 40], ["f", "png"]] }, 40, 20, "PNG"],
  ...[["png", "PNG"], ["jpg", "JPEG"], ["webp", "WEBP"], ["avif", "AVIF"], ["gif", "GIF"], ["tiff", "TIFF"]].map(
    ([format, name]) => [{ format, width: 20 }, 20, 10, name],
  ),
  ...[
    { adjust: { brightness: 1 } }, { autoquality: { method: "size", target: 10 } }, { avif_options: "on" },
    { background_alpha: 0.5 }, { blur_detections: { sigma: 2 } }, { brightness: 1 }, { contrast: 1 }, { saturation: 1 },
    { color_profile: "srgb" }, { colorize: { opacity: 1 } }, { crop_aspect_ratio: { aspect_ratio: 1 } },
    { disable_animation: true }, { dpi: 72 }, { draw_detections: { draw: true } }, { duotone: { intensity: 1 } },
    { fallback_image_url: "x" }, { gradient: { opacity: 1 } }, { jpeg_options: { progressive: true } },
    { monochrome: { intensity: 1 } }, { page: 1 }, { png_options: { interlaced: true } },
    { progressive_blur: { sigma: 1 } }, { resizing_algorithm: "cubic" }, { style: "x" },
    { unsharp_masking: { mode: "auto" } }, { video_thumbnail_second: 1 }, { watermark_text: "x" },
    { watermark_url: "x" }, { watermark_shadow: 1 }, { webp_options: "lossy" },
  ].map((options) => [options]),
];

const bitpatty = [
  [(url) => url.resize({ type: "fill", width: 60, height: 40 }), 60, 40],
  [(url) => url.resize({ type: "force", width: 30, height: 70 }), 30, 70],
  [(url) => url.resize({ width: 50, height: 50 }).extend({ gravity: { type: "nowe", offset: { x: 0, y: 5 } } }), 50, 50],
  [(url) => url.resize({ width: 300, height: 125 }).extendAspectRatio(), 240, 100],
  [(url) => url.resize({ width: 300 }).enlarge(), 300, 150],
  [(url) => url.minWidth(150).resize({ height: 10 }), 150, 10],
  [(url) => url.minHeight(40).resize({ width: 50 }), 50, 40],
  [(url) => url.zoom(2).resize({ width: 20 }), 40, 20],
  [(url) => url.zoom([2, 3]).resize({ width: 40 })], // the client writes a space, which imgproxy does not take
  [(url) => url.dpr(2).resize({ width: 40 }), 80, 40],
  [(url) => url.gravity({ type: "sm" }).resize({ type: "fill", width: 50, height: 50 }), 50, 50],
  [(url) => url.gravity({ type: "fp", offset: { x: 0.1, y: 0.9 } }).resize({ type: "fill", width: 50, height: 50 }), 50, 50],
  [(url) => url.crop({ width: 100, height: 50, gravity: { type: "soea", offset: { x: 1, y: 2 } } }), 100, 50],
  [(url) => url.crop({ width: 60, height: 40, gravity: { type: "sm" } }), 60, 40],
  [(url) => url.trim({ threshold: 255, color: "ff00ff", equal: { horizontal: true } }).resize({ width: 20 }), 20, 10],
  [(url) => url.pad({ top: 1, right: 2, bottom: 3, left: 4 }).resize({ width: 50 }), 56, 29],
  [(url) => url.autoRotate().rotate(90), 100, 200],
  [(url) => url.background({ r: 255, g: 0, b: 10 }).background("ff00ff"), 200, 100],
  [(url) => url.blur(2).sharpen(1).pixelate(3), 200, 100],
  [(url) => url.watermark({ opacity: 0.5, position: "noea", offset: { x: 5, y: 5 }, scale: 0.3 }), 200, 100],
  [(url) => url.watermark({ opacity: 1, position: "re" }), 200, 100],
  [(url) => url.stripMetadata().keepCopyright().stripColorProfile(), 200, 100],
  [(url) => url.enforceThumbnail(), 200, 100],
  [(url) => url.quality(50).formatQuality({ jpg: 40, webp: 30 }).maxBytes(3000), 200, 100],
  [(url) => url.skipProcessing(["jpg"]), 200, 100],
  [(url) => url.raw(), 200, 100],
  [(url) => url.cacheBuster("x").expires(9999999999).fileName("cat").returnAttachment(), 200, 100],
  [(url) => url.fileName("YSBjYXQ", true), 200, 100],
  [(url) => url.preset("tiny"), 20, 10, "WEBP"],
  ...[["png", "PNG"], ["jpg", "JPEG"], ["webp", "WEBP"], ["avif", "AVIF"], ["gif", "GIF"], ["tiff", "TIFF"]].map(
    ([format, name]) => [(url) => url.resize({ width: 20 }).format(format), 20, 10, name],
  ),
  ...[
    (url) => url.adjust({ brightness: 1 }), (url) => url.backgroundAlpha(0.5), (url) => url.brightness(1),
    (url) => url.contrast(1), (url) => url.saturation(1), (url) => url.disableAnimation(), (url) => url.dpi(72),
    (url) => url.duotone({ intensity: 1 }), (url) => url.fallbackImageUrl("x"), (url) => url.monochrome({ intensity: 1 }),
    (url) => url.page(1), (url) => url.resizingAlgorithm("cubic"), (url) => url.style("x"),
    (url) => url.videoThumbnailSecond(1), (url) => url.watermarkUrl("x"), (url) => url.watermarkText("x"),
  ].map((change) => [change]),
];

const cases = [
  ...official.map(([options, ...demanded]) => {
    const displayAs = demanded.length % 2 ? "base64" : "plain";
    const url = generateImageUrl({ endpoint: "http://service/imgproxy", url: { value: source, displayAs }, options, key, salt });
    return [`imgproxy-node ${JSON.stringify(options)}`, new URL(url).pathname, demanded];
  }),
  ...bitpatty.map(([change, ...demanded], index) => [
    `imgproxy-url-builder ${change}`,
    `/imgproxy${change(build()).build({ path: source, plain: index % 2 === 0, signature: { key, salt } })}`,
    demanded,
  ]),
];
console.log(JSON.stringify(cases.map(([name, path, [width, height, format]]) => ({ name, path, width, height, format }))));
