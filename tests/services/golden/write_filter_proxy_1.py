#!/usr/bin/env python3
"""How filter-proxy-1.payload was made, once, sharing no code with the program. Never run it again (write_payloads_1.py)."""
import struct
import sys


def u64(value):
    return struct.pack("<Q", value)


def filter_proxy():
    """Schema version, count, then for each rule, names ascending: length, name, connections, images, cookies, passed."""
    rules = [(b"ads", (1, 2, 3, 4)), (b"default", (0, 0, 0, 1_000_000_007))]
    out = struct.pack("<I", 1) + u64(len(rules))
    for name, counts in rules:
        out += u64(len(name)) + name + b"".join(map(u64, counts))
    return out


if __name__ == "__main__":
    with open(sys.argv[1] + "/filter-proxy-1.payload", "xb") as file:
        file.write(filter_proxy())
