#!/usr/bin/env python3
"""The article's Fibonacci server, with Twisted: the peer that tapd's fibonacci service is measured against.

    fibonacci_twisted.py [--framing none|line] [--position N]

Listens on a free port of 127.0.0.1 and prints `listening PORT`. The first answer it gives is the N-th of
2, 3, 5, 8, 13, ...; with framing none whatever one read delivers is one request and the reply is the digits and nothing
else; with framing line each line is one request and each reply is a line.
"""

import argparse
import sys

from twisted.internet import protocol, reactor
from twisted.protocols import basic


def fibonacci_pair(n):
    """F(n) and F(n+1), where F(1) = F(2) = 1, by doubling."""
    if n == 0:
        return 0, 1
    a, b = fibonacci_pair(n // 2)
    even, odd = a * (2 * b - a), a * a + b * b
    return (odd, even + odd) if n % 2 else (even, odd)


class FibonacciProtocol(protocol.Protocol):
    def dataReceived(self, data):
        self.transport.write(b"%d" % self.factory.next_number())


class FibonacciLineProtocol(basic.LineOnlyReceiver):
    delimiter = b"\n"

    def lineReceived(self, line):
        self.transport.write(b"%d\n" % self.factory.next_number())


class FibonacciFactory(protocol.Factory):
    noisy = False

    def __init__(self, line_protocol, position):
        self.protocol = line_protocol
        self.a, self.b = fibonacci_pair(position)

    def next_number(self):
        self.a, self.b = self.b, self.a + self.b
        return self.b


def main():
    parser = argparse.ArgumentParser(description="The article's Fibonacci server, with Twisted.")
    parser.add_argument("--framing", choices=("none", "line"), default="none")
    parser.add_argument("--position", type=int, default=1, help="which number the first answer is (1: the number 2)")
    options = parser.parse_args()
    if hasattr(sys, "set_int_max_str_digits"):
        sys.set_int_max_str_digits(0)  # newer Pythons refuse to print more than 4300 digits
    protocols = {"none": FibonacciProtocol, "line": FibonacciLineProtocol}
    factory = FibonacciFactory(protocols[options.framing], options.position)
    port = reactor.listenTCP(0, factory, backlog=1024, interface="127.0.0.1")
    print("listening", port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
