"""samples/pages, words, templates, sites.toml and oddities.toml in; samples/crawls and samples/gold out.

Run `python samples/pack.py` to write the files, `python samples/pack.py --check` to see whether they are up to date.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from pathlib import Path

from captures import Capture, captured
from gold import gold_tables
from oddities import odd_captures
from page_files import read_library
from planning import HERE, Web, pick, plan
from warc_records import crawl_file, plain_content

# Damaged records stand where they harm no other record.
_LAST = {"truncated", "after_garbage"}


def packed() -> dict[str, bytes]:
    """Return the content of every generated file by its path below samples/."""
    library = read_library(HERE / "pages")
    web = plan(library)
    captures = [*(captured(posting, web) for posting in web.postings), *odd_captures(web)]
    files = [(file, _contents(file["crawl"], file["hosts"], captures)) for file in web.files]
    _check_complete(web, captures, [capture for _, contents in files for capture in contents])
    outputs = {f"crawls/{file['crawl']}/{file['name']}": crawl_file(file, contents) for file, contents in files}
    tables = gold_tables(library, [(file["name"], contents) for file, contents in files])
    return outputs | {f"gold/{name}": table.encode() for name, table in tables.items()}


def main() -> int:
    """Write the files, or compare them; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is not what it should be")
    parser.add_argument("--output", type=Path, default=HERE, help="folder of crawls/ and gold/ (default: samples/)")
    arguments = parser.parse_args()
    outputs = packed()
    if arguments.check:
        stale = _differences(arguments.output, outputs)
        print("\n".join([*stale, f"{len(stale)} of {len(outputs)} files differ"]))
        return int(bool(stale))
    for path in sorted(_leftovers(arguments.output, outputs)):
        path.unlink()
    for name, content in outputs.items():
        path = arguments.output / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        print(f"{len(content):>8} {name}")
    return 0


def _contents(crawl: str, hosts: list[str], captures: list[Capture]) -> list[Capture]:
    """Return a file's captures in an order that mixes its hosts, as crawlers mix them."""
    chosen = [capture for capture in captures if capture.crawl == crawl and capture.host in hosts]
    return sorted(chosen, key=lambda capture: (capture.kind in _LAST, pick(capture.url, 1 << 32), capture.url))


def _check_complete(web: Web, captures: list[Capture], filed: list[Capture]) -> None:
    """Raise ValueError if a capture is in no file or in two, or two have one address in one crawl."""
    addresses = Counter((capture.crawl, capture.url) for capture in filed)
    missing = {(capture.crawl, capture.url) for capture in captures} - set(addresses)
    repeated = sorted(address for address, count in addresses.items() if count > 1)
    unknown = sorted({host for file in web.files for host in file["hosts"]} - set(web.sites))
    if missing or repeated or unknown:
        raise ValueError(f"in no file: {sorted(missing)}; twice in a crawl: {repeated}; unknown hosts: {unknown}")


def _differences(folder: Path, outputs: dict[str, bytes]) -> list[str]:
    """Return the names of files that are missing, outdated or no longer written.

    Files that differ only in how another version of zlib or zstd compressed them are equal.
    """
    stale = [str(path.relative_to(folder)) for path in _leftovers(folder, outputs)]
    for name, content in outputs.items():
        path = folder / name
        if not path.exists() or plain_content(path.read_bytes()) != plain_content(content):
            stale.append(name)
    return sorted(stale)


def _leftovers(folder: Path, outputs: dict[str, bytes]) -> list[Path]:
    found = [path for part in ("crawls", "gold") for path in (folder / part).glob("**/*") if path.is_file()]
    return [path for path in found if path.relative_to(folder).as_posix() not in outputs]


if __name__ == "__main__":
    sys.exit(main())
