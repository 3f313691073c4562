#!/usr/bin/env python3
"""How weblog-1.payload was made, once, sharing no code with the program.

Never run it again: the file stands for what was released, and every later tapd has to read it.
"""
import struct
import sys


def text(value):
    return struct.pack("<Q", len(value)) + value


def place(device, inode, offset, begin_bytes, begin_sum, skipping):
    return struct.pack("<QQQIIB", device, inode, offset, begin_bytes, begin_sum, skipping)


def weblog():
    """Schema version, files, hits, malformed, the last lines; each list after its length."""
    files = [place(2049, 11, 5000, 256, 0xDEADBEEF, 0), place(2049, 12, 100, 100, 7, 1)]
    lines = [b'1.2.3.4 - - [t] "GET /\xff HTTP/1.1" 200 1 "-" "-"', b'::1 - u [t] "" 400 - "" ""']
    return (struct.pack("<IQ", 1, len(files)) + b"".join(files) + struct.pack("<QQ", 1234567890123, 3) +
            struct.pack("<Q", len(lines)) + b"".join(map(text, lines)))


if __name__ == "__main__":
    with open(sys.argv[1] + "/weblog-1.payload", "xb") as file:
        file.write(weblog())
