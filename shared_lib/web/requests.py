"""Read a request into the inputs that an endpoint declares."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import flask
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from shared_lib.domain.uploads import NoFile
from shared_lib.errors import Invalid, TooLarge, Unsupported
from shared_lib.validation import MAX_MISTAKES, adapt, bound_names, describe_unknown, invalid, read_json, to_invalid
from shared_lib.web.endpoint import Endpoint
from shared_lib.web.forms import Form, UploadedFile, parse_form

MAX_JSON = 1024 * 1024  # bytes
MAX_NAME = 64  # characters of one
_FILE = "file"
_WITH_CURL = "(with curl: -F file=@photo.jpg)"


def read_inputs(
    request: flask.Request, endpoint: Endpoint, arguments: Mapping[str, str], max_upload: int
) -> dict[str, Any]:
    """Return the handler's arguments. Raises Invalid, TooLarge or Unsupported.

    A name that the endpoint doesn't declare is invalid: whoever misspelled it would wait in vain for its effect.
    """
    declared = endpoint.inputs
    inputs: dict[str, Any] = {
        name: _check(kind, arguments[name], name) for name, kind in declared.path.items() if name in arguments
    }
    if declared.url_path:
        inputs["url_path"] = request.path
    if declared.sent_path:
        inputs["sent_path"] = read_sent_path(request)
    if declared.accept:
        inputs["accept"] = request.headers.get("Accept", "")
    if declared.query is not None:
        inputs["query"] = _check(declared.query, _read_query(request, declared.query))
    elif not endpoint.ignores_query:
        _refuse_unknown(request.args)
    if declared.body is not None:
        inputs["body"] = _check(declared.body, _read_json(request))
    if declared.form is not None:
        fields, inputs["file"] = _read_form(request, declared.form, max_upload)
        inputs["form"] = _check(declared.form, fields)
    return inputs


def read_sent_path(request: flask.Request) -> str:
    """Return the path before decoding. A target that was meant for a proxy begins with scheme and host."""
    path = str(request.environ["RAW_URI"]).partition("?")[0]
    return path if path.startswith("/") else "/" + path.split("/", 3)[-1]


def _check(kind: Any, value: object, name: str | None = None) -> Any:  # noqa: ANN401  an instance of any annotation
    """Validate a value. Raises Invalid, which names each wrong parameter and the reason."""
    adapter = adapt(kind)
    try:
        if isinstance(value, bytes) and name is None:
            bound_names(value)
            return adapter.validate_json(value, extra="forbid")
        return adapter.validate_python(value, extra="forbid")
    except ValidationError as error:
        given = read_json(value) if isinstance(value, bytes) else value
        raise to_invalid(error, kind, lambda mistake: name or _locate(mistake, given) or "body") from error


def _locate(mistake: ErrorDetails, given: object) -> str:
    """Return the path to a mistake in the input, such as `renditions.0.name`.

    Pydantic's own path also has the members of unions that it tried, which the input doesn't show.
    """
    path = []
    for step in mistake["loc"]:
        if isinstance(given, str):  # JSON in a form's field
            given = read_json(given)
        parts = dict(enumerate(given)) if isinstance(given, list) else given
        if isinstance(parts, dict) and step in parts:
            given = parts[step]
        elif mistake["type"] != "missing" or step != mistake["loc"][-1]:
            continue
        path.append(str(step))
    return ".".join(path)


def _read_query(request: flask.Request, known: type[BaseModel]) -> dict[str, str]:
    """Return the parameters. Raises Invalid if one is given twice."""
    _refuse_repeated(_names(known), request.args)
    return request.args.to_dict()


def _names(known: type[BaseModel]) -> set[str]:
    return {field.alias or name for name, field in known.model_fields.items()}


def _refuse_repeated(known: set[str], given: MultiDict[str, Any]) -> None:
    """Raise Invalid if a parameter is given twice: the caller couldn't know which value counts."""
    repeated = [name for name, values in given.lists() if len(values) > 1 and name in known]
    if repeated:
        details = [{"parameter": name, "message": "must be given once"} for name in repeated]
        raise Invalid(f"{', '.join(repeated)}: must be given once", details=details)


def _refuse_unknown(given: Iterable[str], known: Sequence[str] = ()) -> None:
    unknown = [name for name in given if name not in known]
    if unknown:
        named = [{"parameter": name, "message": describe_unknown(name, known)} for name in unknown[:MAX_MISTAKES]]
        raise invalid(named, len(unknown))


def _read_json(request: flask.Request) -> bytes:
    request.max_content_length = MAX_JSON + 1
    try:
        data = request.get_data()
    except RequestEntityTooLarge as error:
        raise body_too_large() from error
    if len(data) > MAX_JSON:  # Werkzeug only cuts a chunked body off
        raise body_too_large()
    if not request.is_json:
        raise not_json()
    return data


def body_too_large() -> TooLarge:
    return TooLarge(f"The body is too large. Maximum size is {MAX_JSON // 1024} KB")


def not_json() -> Unsupported:
    return Unsupported("Send JSON, with Content-Type: application/json")


def _read_form(request: flask.Request, known: type[BaseModel], limit: int) -> tuple[dict[str, str], UploadedFile]:
    """Return the form's fields, and its part `file`. Raises Invalid if that is missing, or a part is given twice."""
    form = parse_form(request, limit)
    if _FILE not in form.files:
        raise NoFile(details=[{"parameter": _FILE, "message": _find_file(form)}])
    _refuse_repeated({_FILE}, form.files)
    _refuse_unknown(form.files, (_FILE,))
    _refuse_repeated(_names(known), form.fields)
    return form.fields.to_dict(), form.files[_FILE]


def _find_file(form: Form) -> str:
    """Say where the file is, if not where it should be."""
    if _FILE in form.fields:
        return f"is sent as text. Send it as a file {_WITH_CURL}"
    if form.files:
        return f"is missing. The file was sent in the field {next(iter(form.files))[:MAX_NAME]!r}: send it in 'file'"
    return f"is missing. Send the image in this field {_WITH_CURL}"
