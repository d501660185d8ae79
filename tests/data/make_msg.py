"""A writer of Outlook messages, for test files only: MS-CFB with everything in the mini stream.

Storages are dictionaries, streams are bytes. The layout follows MS-CFB 2 and MS-OXMSG 2.
"""

from __future__ import annotations

import struct

_END, _FREE, _FAT = 0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFD


def msg(*, properties: dict[int, str], attachments: list[tuple[str, str, bytes]] = ()) -> bytes:
    """Return a message of text properties and attachments of (name, media type, content)."""
    root: dict = {f"__substg1.0_{tag:04X}001F": text.encode("utf-16-le") for tag, text in properties.items()}
    root["__properties_version1.0"] = bytes(8) + struct.pack("<IIII", 0, len(attachments), 0, 0) + bytes(8)
    root["__nameid_version1.0"] = {"__substg1.0_00020102": b"", "__substg1.0_00030102": b""}
    for number, (name, media_type, content) in enumerate(attachments):
        method = struct.pack("<IIII", 0x37050003, 6, 1, 0)
        root[f"__attach_version1.0_#{number:08X}"] = {
            "__properties_version1.0": bytes(8) + method,
            "__substg1.0_3704001F": name.encode("utf-16-le"),
            "__substg1.0_3707001F": name.encode("utf-16-le"),
            "__substg1.0_370E001F": media_type.encode("utf-16-le"),
            "__substg1.0_37010102": content,
        }
    return compound(root)


def compound(root: dict) -> bytes:
    """Return a compound file; every stream must be smaller than 4,096 bytes."""
    entries: list[list] = [["Root Entry", 5, _FREE, 0, 0]]
    mini, minifat = bytearray(), []
    _fill(0, root, entries, mini, minifat)
    sectors: list[bytes] = []

    def put(data: bytes) -> tuple[int, int]:
        first = len(sectors)
        data += bytes(-len(data) % 512)
        sectors.extend(data[at : at + 512] for at in range(0, len(data), 512))
        return first, len(sectors) - first

    runs = [put(bytes(mini))]
    entries[0][3:] = [runs[0][0], len(mini)]
    runs.append(put(struct.pack(f"<{len(minifat)}I", *minifat) + b"\xff" * (-len(minifat) * 4 % 512)))
    runs.append(put(b"".join(map(_entry, entries)) + _entry(["", 0, _FREE, 0, 0]) * (-len(entries) % 4)))
    fat = [_END] * len(sectors)
    for first, count in runs:
        fat[first : first + count - 1] = range(first + 1, first + count)
    fat.append(_FAT)
    sectors.append(struct.pack(f"<{len(fat)}I", *fat) + b"\xff" * (512 - len(fat) * 4))
    head = struct.pack(
        "<8s16xHHHHH6xIIIIIIIII",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        0x3E,
        3,
        0xFFFE,
        9,
        6,
        0,
        1,
        runs[2][0],
        0,
        4096,
        runs[1][0],
        runs[1][1],
        _END,
        0,
    )
    return head + struct.pack("<109I", len(fat) - 1, *[_FREE] * 108) + b"".join(sectors)


def _fill(parent: int, storage: dict, entries: list, mini: bytearray, minifat: list[int]) -> None:
    """Append a storage's entries as a chain of right siblings, which readers accept when sorted."""
    previous = None
    for name in sorted(storage, key=lambda name: (len(name), name.upper())):
        value, at = storage[name], len(entries)
        entries.append([name, 1 if isinstance(value, dict) else 2, _FREE, 0, 0, _FREE])
        if previous is None:
            entries[parent][2] = at
        else:
            entries[previous][5] = at
        previous = at
        if isinstance(value, dict):
            _fill(at, value, entries, mini, minifat)
            continue
        count = -(-len(value) // 64)
        entries[at][3:5] = [len(minifat) if count else _END, len(value)]
        minifat.extend([*range(len(minifat) + 1, len(minifat) + count), _END][:count] if count else [])
        mini += value + bytes(-len(value) % 64)


def _entry(fields: list) -> bytes:
    name, kind, child, start, size, *right = fields
    raw = name.encode("utf-16-le") + b"\0\0" if name else b""
    return struct.pack(
        "<64sHBBIII36xIQ", raw, len(raw), kind, 1, _FREE, right[0] if right else _FREE, child, start, size
    )
