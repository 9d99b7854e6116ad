"""Text for people: what would move the cursor, hide or turn the order of what is read stands there escaped."""

from __future__ import annotations


def shown(text: str, keep: str = "") -> str:
    """The text with control characters, escapes, bidirectional marks and separators of lines as Python writes them.

    Parameters
    ----------
    text
        What is to be shown, such as the name of a layer.
    keep
        Characters that stay as they are, such as the line ends between names.

    Returns
    -------
    shown
        Printable text; the same where it was printable.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or each in keep else repr(each)[1:-1] for each in text)
