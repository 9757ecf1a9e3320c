#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""41-remote-queue.py HOST:PORT put ITEM | get: the partner in Python of a remote queue."""
import sys
from multiprocessing.managers import BaseManager


class QueueManager(BaseManager):
    pass


QueueManager.register("get_queue")

host, port = sys.argv[1].rsplit(":", 1)
manager = QueueManager(address=(host, int(port)), authkey=b"abracadabra")
manager.connect()
queue = manager.get_queue()
if sys.argv[2] == "put":
    queue.put(sys.argv[3])
else:
    print(repr(queue.get()))
