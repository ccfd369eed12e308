"""Mutations of files: of their bytes, of JSON, of a safetensors header, of a pickle in a zip."""

import io
import json
import zipfile

LIKED = b"\x00\x01\x7f\x80\xff[{\"'.:,}]"
TEXTS = ["", "x" * 5000, "\0", "\ud800", "/", "..", "../../etc/passwd", "NaN", "1e999", "resnet50d"]
NUMBERS = [0, 1, -1, 2, 7, 0.5, -0.0, 1e308, 10**400, 2**31, 2**53, 2**63, 2**64, -(2**63)]
NUMBERS += [float("nan"), float("inf"), -float("inf")]
DEEP = "@deep@"
"""Stands for lists nested so deeply that Python's own JSON cannot write them."""


def of_bytes(rng, data):
    """Flip, overwrite, remove, insert or repeat a few bytes, or cut the end off."""
    made = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4])):
        if not made:
            break
        at, n = rng.randrange(len(made)), 1 + rng.randrange(8)
        choice = rng.randrange(8)
        if choice == 0:
            made[at] ^= 1 << rng.randrange(8)
        elif choice == 1:
            made[at] = rng.choice(LIKED)
        elif choice == 2:
            made[at] = rng.randrange(256)
        elif choice == 3:
            del made[at : at + n]
        elif choice == 4:
            made[at:at] = made[at : at + n]
        elif choice == 5:
            made[at : at + n] = rng.choice([b"\x00", b"\xff", b"\x7f"]) * n
        elif choice == 6:
            made[at:at] = bytes(rng.choices(LIKED, k=n))
        elif rng.random() < 0.2:
            del made[at:]
    return bytes(made)


def odd(rng):
    return rng.choice(
        [
            rng.choice(NUMBERS),
            rng.choice(NUMBERS),
            rng.choice(TEXTS),
            *(None, True, False, [], {}, DEEP, [[]], [None], {"": None}, {"0": 1}),
            [rng.choice(NUMBERS) for _ in range(rng.randrange(5))],
            [rng.choice(TEXTS) for _ in range(rng.randrange(5))],
        ]
    )


def nodes(value, found):
    """List the (container, key) of everything within a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in items:
        found.append((value, key))
        if isinstance(item, (dict, list)):
            nodes(item, found)
    return found


def of_value(rng, value):
    """Replace, remove, add or exchange items of a JSON value."""
    made = json.loads(json.dumps(value))
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        there = nodes(made, [])
        if not there:
            break
        container, key = rng.choice(there)
        choice = rng.random()
        if choice < 0.6:
            container[key] = odd(rng)
        elif choice < 0.7:
            del container[key]
        elif choice < 0.8:
            container[key] = [container[key]] * rng.choice([1, 2, 300])
        elif choice < 0.9 and isinstance(container, dict):
            container[rng.choice(TEXTS)] = odd(rng)
        else:
            other, name = rng.choice(there)
            container[key] = json.loads(json.dumps(other[name]))
    return odd(rng) if rng.random() < 0.01 else made


def as_json(value, **options):
    text = json.dumps(value, **options)
    # Not more than three: there may be thousands, which would take gigabytes.
    return text.replace(f'"{DEEP}"', "[" * 100_000 + "]" * 100_000, 3).encode()


def of_json(rng, data):
    """Mutate a file of JSON: its bytes, or the value that it holds."""
    if rng.random() < 0.3:
        return of_bytes(rng, data)
    return as_json(of_value(rng, json.loads(data)))


def of_header(rng, data):
    """Mutate a file that begins with its header's length and the header, JSON."""
    if rng.random() < 0.3:
        return of_bytes(rng, data)
    end = 8 + int.from_bytes(data[:8], "little")
    header = of_json(rng, data[8:end])
    header += b" " * (-(8 + len(header)) % rng.choice([8, 64, 1]))
    length = len(header) if rng.random() < 0.95 else rng.choice([0, 7, 2**31, 2**63, 2**64 - 1])
    rest = data[end:] if rng.random() < 0.9 else of_bytes(rng, data[end:])
    return length.to_bytes(8, "little") + header + rest


def of_zip(rng, data):
    """Mutate a zip, or what it holds: the checksums of its members are right again."""
    if not data.startswith(b"PK") or rng.random() < 0.3:
        return of_bytes(rng, data)
    room = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as before, zipfile.ZipFile(room, "w") as after:
        for name in before.namelist():
            content = before.read(name)
            if name.endswith("data.pkl") and rng.random() < 0.8:
                content = of_bytes(rng, content)
            elif rng.random() < 0.1:
                content = of_bytes(rng, content)
            if rng.random() < 0.03:
                name = rng.choice(["../x", "data.pkl", "x/data.pkl", name * 2])
            if rng.random() < 0.97:
                packing = zipfile.ZIP_DEFLATED if rng.random() < 0.03 else zipfile.ZIP_STORED
                after.writestr(name, content, packing)
    return room.getvalue()
