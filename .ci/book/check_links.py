"""Checks that every relative link in the HTML files of a built book has a target, also a section on a page.

    .ci/book/check_links.py target/book
"""

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit


class Page(HTMLParser):
    """The links and the anchors of a page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name == "id":
                self.anchors.add(value)
            elif name in ("href", "src") and value:
                self.links.append(value)


def broken(folder, path, pages):
    """Yields the links of a page that have no target."""
    for link in pages[path].links:
        url = urlsplit(link)
        if url.scheme or url.netloc:
            continue
        target = path if not url.path else (path.parent / unquote(url.path)).resolve()
        if target.is_dir():
            target /= "index.html"
        if folder not in target.parents or not target.is_file():
            yield f"{link}: no such file"
        elif url.fragment and target in pages and unquote(url.fragment) not in pages[target].anchors:
            yield f"{link}: no such section"


def main():
    """Prints all broken links. Fails if there is one, or if the book has too few links to be complete."""
    folder = Path(sys.argv[1]).resolve()
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in folder.rglob("*.html")}
    # The error page is served at any address, so its links are absolute. The page for printing joins all others.
    checked = [path for path in sorted(pages) if path.name not in ("404.html", "print.html")]
    found = [f"{path.relative_to(folder)}: {link}" for path in checked for link in broken(folder, path, pages)]
    links = sum(len(pages[path].links) for path in checked)
    print("\n".join(found + [f"{len(checked)} pages, {links} links, {len(found)} broken"]))
    sys.exit(bool(found) or len(checked) < 10)


if __name__ == "__main__":
    main()
