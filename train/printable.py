"""Names of files as people may see them: a name is data, never a terminal's control code, and never a second line."""


def printable(text: str | bytes) -> str:
    """Text that is safe on any terminal and in any log: control characters and undecodable bytes as escapes."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape", "backslashreplace").decode("ascii")
        for character in text
    )
