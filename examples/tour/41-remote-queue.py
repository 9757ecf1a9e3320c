#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""41-remote-queue.py serve HOST:PORT | put HOST:PORT ITEM | get HOST:PORT

The partner in Python of a remote queue."""
import queue
import sys
from multiprocessing.managers import BaseManager


class QueueManager(BaseManager):
    pass


what = sys.argv[1]
host, port = sys.argv[2].rsplit(":", 1)
manager = QueueManager(address=(host, int(port)), authkey=b"abracadabra")
if what == "serve":
    shared = queue.Queue()
    QueueManager.register("get_queue", callable=lambda: shared)
    server = manager.get_server()
    print("a queue is at %s:%d" % server.address, file=sys.stderr, flush=True)
    server.serve_forever()
QueueManager.register("get_queue")
manager.connect()
remote = manager.get_queue()
if what == "put":
    remote.put(sys.argv[3])
else:
    print(repr(remote.get()))
