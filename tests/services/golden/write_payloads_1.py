#!/usr/bin/env python3
"""How sequence-1.payload and onetimekey-1.payload were made, once, sharing no code with the program.

Never run it again: the files stand for what was released, and every later tapd has to read them. A newer schema
version gets files and a script of its own.
"""
import struct
import sys


def u32(value):
    return struct.pack("<I", value)


def u64(value):
    return struct.pack("<Q", value)


def sequence():
    """Schema version, count, then for each counter, names ascending: length of the name (1 byte), name, next number."""
    counters = [(b"-", 2), (b"a/b:c.d_e", 2**64 - 1), (b"invoices", 10001), (b"z" * 128, 1)]
    out = u32(1) + u64(len(counters))
    for name, number in counters:
        out += bytes([len(name)]) + name + u64(number)
    return out


def onetimekey():
    """Schema version, next number, how many were given."""
    return u32(1) + u64(4242) + u64(243)


if __name__ == "__main__":
    with open(sys.argv[1] + "/sequence-1.payload", "xb") as file:
        file.write(sequence())
    with open(sys.argv[1] + "/onetimekey-1.payload", "xb") as file:
        file.write(onetimekey())
