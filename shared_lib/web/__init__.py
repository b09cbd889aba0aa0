"""HTTP as callers see it: endpoints, what they read and return, and the OpenAPI document of all of them."""

from shared_lib.web.assets import Assets
from shared_lib.web.dispatch import serve
from shared_lib.web.endpoint import Cache, Docs, Endpoint, Errors, Inputs, Route, Success
from shared_lib.web.errors import NO_COLLECTION, NO_IMAGE, CollectionErrors, ImageError, ProcessingError
from shared_lib.web.forms import UploadedFile
from shared_lib.web.paging import PAGE_HEADERS
from shared_lib.web.responses import Content, Deferred, Reply, Version, redirect, save_as

__all__ = [
    "NO_COLLECTION",
    "NO_IMAGE",
    "PAGE_HEADERS",
    "Assets",
    "Cache",
    "CollectionErrors",
    "Content",
    "Deferred",
    "Docs",
    "Endpoint",
    "Errors",
    "ImageError",
    "Inputs",
    "ProcessingError",
    "Reply",
    "Route",
    "Success",
    "UploadedFile",
    "Version",
    "redirect",
    "save_as",
    "serve",
]
