"""What a client would rather have: `Accept` and `Accept-Language` (RFC 9110, 12.5)."""

LONGEST = 500  # characters that are looked at


def preferred(header: str) -> list[str]:
    """The header's values, the most wanted first, those of one weight in their order; without those that are not wanted."""
    ranked = []
    for part in header[:LONGEST].split(","):
        name, *parameters = (piece.strip() for piece in part.split(";"))
        weights = [piece[2:] for piece in parameters if piece[:2].lower() == "q="]
        try:
            quality = float(weights[0]) if weights else 1.0
        except ValueError:
            continue
        if name and quality > 0:
            ranked.append((quality, name))
    return [name for _, name in sorted(ranked, key=lambda pair: -pair[0])]


def wants_html(header: str) -> bool:
    """Whether a page is wanted more than JSON. Who says nothing, or `*/*`, is a program."""
    for kind in preferred(header.lower()):
        if kind in ("text/html", "application/xhtml+xml"):
            return True
        if kind.startswith(("application/json", "application/problem+json", "application/*")):
            return False
    return False
