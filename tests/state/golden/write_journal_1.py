#!/usr/bin/env python3
"""How journal-1.wal was made, once: a second implementation of state/FORMAT.md, section 5.

Never run it again: the file stands for what was released, and every later tapd has to read it.
"""
import struct
import sys


def crc32c(data, crc=0):
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def u16(value):
    return struct.pack("<H", value)


def u32(value):
    return struct.pack("<I", value)


def u64(value):
    return struct.pack("<Q", value)


BLOCK, LENGTH, EPOCH, FIRST, PREVIOUS_CHAIN = 512, 16384, 3, 8, 0x11223344
LINEAGE = bytes(range(0x10, 0x20))
SALT = bytes(range(0xA0, 0xB0))

header = b"\x89TAW\r\n\x1a\n" + u32(1) + u32(160) + u32(BLOCK) + u32(0) + u64(LENGTH) + LINEAGE + u64(EPOCH)
header += u64(FIRST) + u32(PREVIOUS_CHAIN) + u32(0) + SALT + b"tapd 0.1.0".ljust(32, b"\0")
header = header.ljust(156, b"\0")
header += u32(crc32c(header))

seed = crc32c(LINEAGE + u64(EPOCH) + u64(FIRST) + SALT)
chain = crc32c(u32(PREVIOUS_CHAIN), seed)


def record(kind, number, payload):
    return bytes([kind, 0]) + u16(number) + u32(len(payload)) + payload


def batch(flags, first, count, durable, records):
    global chain
    head = b"BATC" + u32(flags) + u32(len(records)) + u32(0) + u64(first) + u64(count) + u64(durable)
    head += u32(crc32c(head, seed))
    chain = crc32c(records, crc32c(head, chain))
    whole = head + u32(chain) + records
    return whole.ljust((len(whole) + BLOCK - 1) // BLOCK * BLOCK, b"\0")


introduction = record(1, 2, u32(5) + u16(3) + u16(9) + b"fib" + b"fibonacci")
data = batch(0, 8, 2, 7, introduction + record(2, 2, b"") + record(2, 2, b""))
data += batch(0, 10, 1, 9, record(3, 2, bytes(range(256)) * 3))
data += batch(1, 11, 0, 10, b"")
data += batch(2, 11, 0, 10, b"")
sys.stdout.buffer.write((header.ljust(4096, b"\0") + data).ljust(LENGTH, b"\0"))
