#!/usr/bin/env python3
"""How format-1.tap was made, once: a second implementation of state/FORMAT.md, sections 2 and 3.

Never run it again: the file stands for what was released, and every later tapd has to read it. A newer format gets a
file and a script of its own.
"""
import hashlib
import struct
import sys


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def u32(value):
    return struct.pack("<I", value)


def u64(value):
    return struct.pack("<Q", value)


def string(text):
    return u64(len(text)) + text


def definition():
    out = u32(1) + string(b"Golden") + string(b"shutdown") + u64(12500)
    out += u64(2)
    out += u32(1) + string(b"fib") + string(b"fibonacci")
    out += u64(2) + string(b"tcp:8888:interface=127.0.0.1") + string(b"unix:/run/tapd/fib.sock")
    out += string(b"shutdown") + u64(100) + u64(300000)
    out += u64(2) + string(b"framing") + string(b"line") + string(b"odd\0key") + string("caf\u00e9 <&>".encode())
    out += string(b"echo") + string(b"echo") + u64(0) + string(b"") + u64(10000) + u64(0) + u64(0)
    return out


def fibonacci_state():
    a = u64(3) + u64(865075) + u64(475899324) + u64(12)  # least significant limb first
    b = u64(1) + u64(999999999999999999)
    return u32(1) + a + b + u64(100)


def section(kind_of, schema, service, kind, payload):
    head = b"SECT" + u32(kind_of) + u32(schema) + u32(1) + u32(len(service)) + u32(len(kind)) + u64(len(payload))
    head += u32(crc32c(payload))
    return head + u32(crc32c(head + service + kind)) + service + kind + payload


def header():
    out = b"\x89TAP\r\n\x1a\n" + u32(1) + u32(192)
    out += u64(1 << 40) + u64(0) + u64(0)
    out += bytes.fromhex("6ba7b8109dad41d180b400c04fd430c8")
    out += u64(42) + u64(0) + u64(3)
    out += bytes.fromhex("0123456789ab4cde8f0123456789abcd") + u64(17) + hashlib.sha256(b"parent").digest()
    out += u64(1732233600123)
    out += b"tapd 0.1.0".ljust(32, b"\0") + bytes(12)
    return out + u32(crc32c(out))


def main():
    ancestors = b"".join(u64(g) + hashlib.sha256(b"generation %d" % g).digest()[:16] for g in (18, 40, 41))
    sections = [
        section(1, 1, b"", b"", definition()),
        section(3, 1, b"", b"", ancestors),
        section(2, 1, b"fib", b"fibonacci", fibonacci_state()),
        section(2, 7, b"gone", b"no longer known", bytes(range(256))),
    ]
    out = header()
    table = b""
    for one in sections:
        table += u64(len(out)) + u64(len(one))
        out += one
    trailer = u64(len(out)) + u32(len(sections)) + u32(crc32c(table)) + u64(len(out) + len(table) + 64)
    out += table + trailer
    out += hashlib.sha256(out).digest() + b"\x0a\x1a\x0d\x0aPAT\x89"
    with open(sys.argv[1], "xb") as file:
        file.write(out)


main()
