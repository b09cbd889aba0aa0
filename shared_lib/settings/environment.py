"""Read variables and secret files into branches, each a frozen and validated model. Nothing else reads them.

Each field of a branch is one environment variable, named by the branch's prefix and the field: `S3_` and
`endpoint_url` make `S3_ENDPOINT_URL`. A file of that name in the folder SECRETS_DIR is read instead of the variable. In
production secrets come from files: a process's environment is inherited by whatever it starts, and shown by many tools.
"""

import json
import os
from pathlib import Path
from typing import Annotated, ClassVar, Self, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from shared_lib.addresses import check_certificates, check_http_url

Seconds = Annotated[float, Field(gt=0)]
Bytes = Annotated[int, Field(gt=0)]
Text = Annotated[str, Field(min_length=1)]


def split_at_commas(text: object) -> object:
    return tuple(filter(None, map(str.strip, text.split(",")))) if isinstance(text, str) else text


def read_json(text: object) -> object:
    try:
        return json.loads(text) if isinstance(text, str) else text
    except ValueError as error:
        raise ValueError(f"must be JSON ({error})") from error


def _write(default: object) -> str:
    """Return a default as an environment variable has it."""
    return default if isinstance(default, str) else json.dumps(default, default=str)


HttpUrl = Annotated[str, AfterValidator(check_http_url)]
CertificateFile = Annotated[str, AfterValidator(check_certificates)]
CommaSeparated = Annotated[tuple[str, ...], BeforeValidator(split_at_commas)]


class InvalidSettings(Exception):
    """A variable is missing or wrong. The message names each, and says what it should be."""


def _read_variable(name: str) -> str | None:
    folder = find_secrets_folder()
    file = folder / name if folder else None
    return file.read_text().strip() if file and file.is_file() else os.environ.get(name)  # noqa: TID251  this is it


def find_secrets_folder() -> Path | None:
    folder = os.environ.get("SECRETS_DIR")  # noqa: TID251  (same)
    return Path(folder) if folder else None


class Branch(BaseModel):
    """The variables with one prefix."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True, validate_default=True, defer_build=True)
    prefix: ClassVar[str] = ""

    @classmethod
    def read(cls) -> Self:
        """Read them from files and the environment. An empty one counts as unset. Raises ValidationError.

        Where all have their defaults there is nothing to validate: most branches, whose validators take long to build.
        """
        given = {}
        for name, field in cls.model_fields.items():
            text = _read_variable(cls.name_variable(name))
            if text and text != _write(field.default):
                given[name] = text
        if given or any(field.is_required() for field in cls.model_fields.values()):
            return cls.model_validate(given)
        return cast("Self", cls.model_construct())  # which mypy takes for a Branch

    @classmethod
    def name_variable(cls, field: str) -> str:
        return f"{cls.prefix}{field}".upper()
