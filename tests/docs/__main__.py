"""Write anew what of the documentation is made of the code."""

from __future__ import annotations

import sys

from tests.docs.generated import contents
from tests.docs.pages import ROOT


def main() -> int:
    """Write the pages that differ, and name them."""
    for page, text in contents().items():
        if not page.exists() or page.read_text() != text:
            page.write_text(text)
            print(f"wrote {page.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
