"""The crash matrix: kill and stop each process of the service in turn under load, and audit every upload afterwards.

    make chaos                                            all processes, both signals
    make chaos only="postgres tansu/stop" uploads=100     some of them, with fewer uploads each

Clients upload throughout, directly and to presigned URLs, request renditions and delete images. A killed process is
restarted by the supervisor. A stopped one continues after longer than a lease and all timeouts. Then the program waits
until nothing is left to be done, and prints what was lost, double or left over.
"""

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

from chaos.faults import TARGETS, Target
from chaos.matrix import SIGNALS, Cell, Matrix

COLUMNS = ("uploads", "accepted", "lost", "double", "orphans", "counts", "works after", "settled after")
HEADER = f"{'process':<20}{'signal':<8}" + "".join(f"{name:>{len(name) + 2}}" for name in COLUMNS)


def format_row(target: Target, signal: str, cell: Cell) -> str:
    verdict = cell.verdict
    found = (len(each) for each in (verdict.lost, verdict.double, verdict.orphans, verdict.counts))
    seconds = (f"{each:.1f} s" for each in (cell.working_after, cell.settled_after))
    values = (cell.uploads, cell.accepted, *found, *seconds)
    cells = (f"{value:>{len(name) + 2}}" for name, value in zip(COLUMNS, values, strict=True))
    return f"{target.name:<20}SIG{signal.upper():<5}" + "".join(cells)


def choose(only: str) -> list[tuple[Target, str]]:
    """Return the cells that are named: `process` or `process/signal`. All if none is."""
    cells = {f"{target.name}/{signal}": (target, signal) for target in TARGETS for signal in SIGNALS}
    chosen = [each for name in only.split() for each in ([name] if "/" in name else [f"{name}/{s}" for s in SIGNALS])]
    if unknown := [name for name in chosen if name not in cells]:
        sys.exit(f"chaos: there is no {', '.join(unknown)}. There are: {', '.join(each.name for each in TARGETS)}")
    return [cells[name] for name in chosen or cells]


def main(only: str, uploads: int, rate: float) -> int:
    """Run the cells, print a row for each and then all faults. Return the exit code."""
    cells = choose(only)
    data = Path(tempfile.mkdtemp(prefix="chaos-"))
    data.chmod(0o755)  # PostgreSQL's user needs access
    matrix = Matrix(data, uploads, rate)
    faults: list[str] = []
    began = time.monotonic()
    print(HEADER, flush=True)
    try:
        for target, signal in cells:
            cell = matrix.run(target, signal)
            print(format_row(target, signal, cell), flush=True)
            faults += [f"{target.name}/{signal}: {fault}" for fault in cell.verdict.faults]
        faults += [f"at the end: {fault}" for fault in matrix.end().faults]
    finally:
        matrix.platform.stop()
    print(f"\n{len(cells)} cells in {(time.monotonic() - began) / 60:.0f} minutes")
    if faults:
        print("\n".join(faults), f"Data and logs are in {data}", sep="\n")
        return 1
    shutil.rmtree(data)
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--only", default="", help="cells: a process, or process/kill or process/stop")
    parser.add_argument("--uploads", type=int, default=500, help="of each cell (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=20, help="uploads per second (default: %(default)s)")
    options = parser.parse_args()
    sys.exit(main(options.only, options.uploads, options.rate))
