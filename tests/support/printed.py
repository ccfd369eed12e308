"""What commands print."""


def one_line_error(capsys):
    """Return standard error, which must be one line and no traceback."""
    text = capsys.readouterr().err
    lines = [line for line in text.splitlines() if not line.startswith("skipped:")]
    assert len(lines) == 1, text
    assert lines[0].startswith("birdembed")
    return lines[0]
