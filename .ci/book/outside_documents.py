"""A preprocessor of mdBook for pages outside docs/, such as deploy/README.md, and for links to files outside docs/.

SUMMARY.md lists such a page as ../deploy/README.md; in the book it is deploy/index.html. A link to a page of the book leads to
that page, and an image becomes a part of the page that shows it. A link to another file, such as a source file, leads to the
repository if the book's setting git-repository-url has its address; otherwise only the name of the file is shown.
"""

import base64
import json
import posixpath
import re
import sys
from pathlib import Path
from urllib.parse import quote

MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg"}
# [text](target) and ![text](target).
LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^()\s]+)\)")
# [name]: target, on a line of its own.
DEFINITION = re.compile(r"^\[[^\]]+\]: +(\S+) *$")


def chapters(items):
    """Yields all chapters with a page, also nested ones."""
    for item in items:
        if isinstance(item, dict) and "Chapter" in item:
            if item["Chapter"]["path"]:
                yield item["Chapter"]
            yield from chapters(item["Chapter"]["sub_items"])


def in_book(source):
    """Returns the path in the book of a document, given relative to docs/."""
    return source.removeprefix("../")


class Book:
    """Rewrites the links of a book in the folder `root`."""

    def __init__(self, root, pages, repository):
        self.root = Path(root)
        # Page in the book by its document, relative to docs/.
        self.pages = {source: in_book(source) for source in pages}
        self.repository = repository

    def link(self, source, match):
        """Returns a link of the document `source` as it is in the book."""
        is_image, text, target = match.groups()
        if "://" in target or target.startswith(("#", "mailto:")):
            return match.group()
        file, hash_sign, section = target.partition("#")
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), file)).removeprefix("../docs/")
        if path in self.pages:
            relative = posixpath.relpath(self.pages[path], posixpath.dirname(in_book(source)) or ".")
            # mdBook names the page of a README.md index.html, but does not adapt the links to it.
            relative = re.sub(r"README\.md$", "index.html", relative)
            return f"[{text}]({relative}{hash_sign}{section})"
        if not (self.root / path).exists():
            sys.exit(f"{source}: {target} does not exist")
        if path.endswith(".md") and not path.startswith("../") and path != "SUMMARY.md":
            sys.exit(f"{source}: {target} is not in SUMMARY.md")
        if is_image:
            return f"![{text}]({self.embedded(path)})"
        if self.repository and path.startswith("../"):
            return f"[{text}]({self.repository}/blob/main/{quote(in_book(path))}{hash_sign}{section})"
        return text

    def embedded(self, path):
        """Returns an image as a data URL."""
        content = base64.b64encode((self.root / path).read_bytes()).decode()
        return f"data:{MEDIA_TYPES[Path(path).suffix]};base64,{content}"

    @staticmethod
    def is_outside_definition(line):
        """Returns whether a line defines a link to a file of the repository. Without it, the link is text."""
        definition = DEFINITION.match(line)
        return bool(definition) and "://" not in definition[1]

    def rewritten(self, source, text):
        """Returns a document with all links rewritten, except in code."""
        lines = [line for line in text.split("\n") if not self.is_outside_definition(line)]
        # A link may be broken over two lines, so the prose between two blocks is rewritten at once.
        pieces = re.split(r"(^```.*?^```$)", "\n".join(lines), flags=re.MULTILINE | re.DOTALL)
        rewrite = lambda piece: LINK.sub(lambda match: self.link(source, match), piece)
        return "".join(piece if piece.startswith("```") else rewrite(piece) for piece in pieces)


def main():
    """Answers mdBook: 'supports RENDERER', or a book on standard input."""
    if sys.argv[1:2] == ["supports"]:
        return
    context, book = json.load(sys.stdin)
    html = context["config"].get("output", {}).get("html", {})
    found = list(chapters(book["items"]))
    rewriter = Book(context["root"], [chapter["path"] for chapter in found], html.get("git-repository-url"))
    for chapter in found:
        source = chapter["path"]
        chapter["content"] = rewriter.rewritten(source, chapter["content"])
        chapter["path"] = in_book(source)
    json.dump(book, sys.stdout)


if __name__ == "__main__":
    main()
