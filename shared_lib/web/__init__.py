"""HTTP as callers see it: endpoints, what they read and answer, and the OpenAPI document of all of them."""

from shared_lib.web.endpoint import endpoint
from shared_lib.web.errors import NO_COLLECTION, NO_IMAGE, ProcessingError
from shared_lib.web.requests import UploadedFile
from shared_lib.web.responses import Content, Reply

__all__ = ["NO_COLLECTION", "NO_IMAGE", "Content", "ProcessingError", "Reply", "UploadedFile", "endpoint"]
