"""Tell which version of the service runs, on which Python, with which imaging libraries."""

import platform
from importlib import metadata

import functions_framework
from pydantic import BaseModel, Field

from shared_lib import web
from shared_lib.pipeline.libraries import read_versions
from shared_lib.runtime import Runtime
from shared_lib.settings import Build


class Version(BaseModel):
    version: str = Field(description="Of the service.", examples=["1.0.0"])
    commit: str | None = Field(description="That it was built from, if known.", examples=["4f0c2d9"])
    python: str = Field(examples=["3.13.16"])
    libraries: dict[str, str] = Field(
        description="The libraries that read and write images, as they report themselves.",
        examples=[{"libvips": "8.18.7", "libheif": "1.23.6", "libde265": "1.1.3", "libwebp": "1.6.0"}],
    )


@functions_framework.http
@web.serve(
    web.Endpoint(
        name="get_version",
        route=web.Route("GET", "/version"),
        docs=web.Docs(tag="service", summary="Get the versions of the service and of its imaging libraries"),
        success=web.Success(Version),
        errors=web.Errors(web.ImageError),
        needs="operations:read",  # an attacker would look up which holes they have
    )
)
def main(rt: Runtime) -> Version:  # noqa: ARG001  every handler takes it
    commit, version = Build.read().commit, metadata.version("image-processing")
    return Version(version=version, commit=commit, python=platform.python_version(), libraries=read_versions())
