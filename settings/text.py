"""Numbers in sentences."""


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Returns a number with its noun: `1 epoch`, `1,442 examples`.

    Args:
        number: How many.
        noun: The singular.
        plural: The plural, where it is not the singular and an s.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
