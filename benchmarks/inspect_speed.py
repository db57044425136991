"""How fast a G-code file is understood and indexed: megabytes and lines per second, and the memory of the child.

Without FILE it makes a synthetic one of 50 MB by repeating a sliced cube's moves. Quoted in the README.
Usage: python -m benchmarks.inspect_speed [FILE]
"""

import os
import resource
import sys
import tempfile
import time
from pathlib import Path

from fablab.children import run_limited
from fablab.gcode.facts import Limits, understand
from fablab.gcode.index import IndexedFile

CUBE = Path(__file__).parents[1] / "tests" / "fixtures" / "gcode" / "cube-pla-mk3.gcode"
SIZE = 50_000_000


def synthetic(folder: Path) -> Path:
    """The cube's layers over and over, between its own start and its own end."""
    text = CUBE.read_bytes()
    begin, end = text.index(b";LAYER_CHANGE"), text.index(b"; filament used [mm]")
    path = folder / "large.gcode"
    with path.open("wb") as file:
        file.write(text[:begin])
        for _ in range(SIZE // (end - begin)):
            file.write(text[begin:end])
        file.write(text[end:])
    return path


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = Path(sys.argv[1]) if len(sys.argv) > 1 else synthetic(folder)
        index = folder / "index"
        limits = Limits(max_bytes=1 << 30)
        began, before = time.perf_counter(), os.times()
        facts = run_limited(understand, path, limits, index, seconds=600, memory_mb=1024)
        wall, after = time.perf_counter() - began, os.times()
        cpu = after.children_user + after.children_system - before.children_user - before.children_system
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        print(f"file      {facts.size / 1e6:.1f} MB, {facts.lines} commands")
        print(f"understood and indexed in {wall:.1f} s ({cpu:.1f} s of processor)")
        print(f"          {facts.size / cpu / 1e6:.1f} MB/s, {facts.lines / cpu:.0f} lines/s, peak {peak:.0f} MB")
        with IndexedFile(path, index) as indexed:
            began_cpu = time.process_time()
            count = sum(1 for _ in indexed.lines())
            each = (time.process_time() - began_cpu) / count * 1e6
        print(f"index     {index.stat().st_size / 1e6:.1f} MB; reading a line back takes {each:.2f} µs")


if __name__ == "__main__":
    main()
