"""The crash matrix: break the service in one way after another under load, and audit every upload afterwards.

    make chaos                                            all cells
    make chaos only="postgres tansu/stop" uploads=100     some of them, with fewer uploads each

Clients upload throughout, directly and to presigned URLs, request renditions and delete images. Then the program waits
until nothing is left to be done, and prints what was lost, double or left over. Nobody repairs anything by hand.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from chaos.faults import FAULTS, Fault
from chaos.matrix import KINDS, Cell, Matrix
from chaos.outside import find_faketime

COLUMNS = ("uploads", "accepted", "lost", "double", "orphans", "counts", "500s", "works after", "settled after")
HEADER = f"{'fault':<32}" + "".join(f"{name:>{len(name) + 2}}" for name in COLUMNS)


def format_row(fault: Fault, cell: Cell) -> str:
    verdict = cell.verdict
    found = (len(each) for each in (verdict.lost, verdict.double, verdict.orphans, verdict.counts))
    seconds = (f"{each:.1f} s" for each in (cell.working_after, cell.settled_after))
    values = (cell.uploads, cell.accepted, *found, cell.failures, *seconds)
    cells = (f"{value:>{len(name) + 2}}" for name, value in zip(COLUMNS, values, strict=True))
    return f"{fault.name:<32}" + "".join(cells)


def choose(only: str) -> list[Fault]:
    """Return the cells that are named: `process/kill`, or all of a `process`. All if none is."""
    names = only.split()
    if unknown := [name for name in names if not any(_is_named(each, name) for each in FAULTS)]:
        sys.exit(f"chaos: there is no {', '.join(unknown)}. There are: {', '.join(each.name for each in FAULTS)}")
    chosen = [each for each in FAULTS if not names or any(_is_named(each, name) for name in names)]
    if any(each.kind == "clock" for each in chosen) and not find_faketime():
        sys.exit("chaos: database/clock_jump needs libfaketime: install it (Debian: sudo apt install libfaketime).")
    return chosen


def _is_named(fault: Fault, name: str) -> bool:
    return name in (fault.name, fault.name.partition("/")[0])


def main(only: str, uploads: int, rate: float) -> int:
    """Run the cells, print a row for each and then all faults. Return the exit code."""
    chosen = choose(only)
    data = Path(tempfile.mkdtemp(prefix="chaos-"))
    data.chmod(0o755)  # PostgreSQL's user needs access
    faults: list[str] = []
    began = time.monotonic()
    print(HEADER, flush=True)
    for kind in KINDS:
        if cells := [each for each in chosen if each.kind == kind]:
            faults += run(cells, Matrix(data / kind, uploads, rate, kind))
    print(f"\n{len(chosen)} cells in {(time.monotonic() - began) / 60:.0f} minutes")
    if faults:
        print("\n".join(faults), f"Data and logs are in {data}", sep="\n")
        return 1
    shutil.rmtree(data)
    return 0


def run(cells: list[Fault], matrix: Matrix) -> list[str]:
    """Run cells on one service. Return what is wrong with it."""
    found: list[str] = []
    try:
        for fault in cells:
            cell = matrix.run(fault)
            print(format_row(fault, cell), flush=True)
            found += [f"{fault.name}: {each}" for each in cell.verdict.faults]
            if cell.failures:
                found.append(f"{fault.name}: {cell.failures} requests were answered with another 5xx than 503")
        found += [f"at the end: {each}" for each in matrix.end().faults]
    finally:
        matrix.close()
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--only", default="", help="names of cells, or what is before the slash")
    parser.add_argument("--uploads", type=int, default=500, help="of each cell (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=20, help="uploads per second (default: %(default)s)")
    options = parser.parse_args()
    sys.exit(main(options.only, options.uploads, options.rate))
