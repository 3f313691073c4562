#!/usr/bin/env python3
"""How poetry-proxy-1.payload was made, once, sharing no code with the program.

Never run it again: the file stands for what was released, and every later tapd has to read it. A newer schema version
gets a file and a script of its own.
"""
import struct
import sys


def text(value):
    return struct.pack("<Q", len(value)) + value


def poetry_proxy():
    """Schema version, how many poems were fetched, upstream, poem, when (ms since 1970)."""
    return (struct.pack("<IQ", 1, 7) + text(b"tcp:poems.example.org:10000") + text(b"a\0 poem\n\xff")
            + struct.pack("<Q", 1732455991123))


if __name__ == "__main__":
    with open(sys.argv[1] + "/poetry-proxy-1.payload", "xb") as file:
        file.write(poetry_proxy())
