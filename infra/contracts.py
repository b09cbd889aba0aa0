"""Write every file that is derived from code or from other files. Run by `make contracts`.

A test compares: it fails if a file is not what would be written now. Some generators read what earlier ones write, so
their order matters.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

from infra import dialects, limits, listings, monitoring, nginx, postman, routes, schemas, version

GENERATORS: tuple[Callable[[], dict[Path, str]], ...] = (
    version.generate,
    schemas.generate,
    routes.generate,
    listings.generate,
    nginx.generate,
    monitoring.generate,
    postman.generate,
    limits.generate,
    dialects.generate,
)


def main() -> None:
    argparse.ArgumentParser(prog="python -m infra.contracts", description=__doc__).parse_args()
    for generate in GENERATORS:
        for path, text in generate().items():
            path.write_text(text)


if __name__ == "__main__":
    main()
