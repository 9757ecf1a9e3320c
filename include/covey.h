/* SPDX-License-Identifier: MIT */
/**
 * covey: processes, shared memory and process pools for C programs; what Python
 * calls `multiprocessing`, made to survive the death of any of its processes.
 */
#ifndef COVEY_H
#define COVEY_H

#include <covey/base.h>
#include <covey/call.h>
#include <covey/connection.h>
#include <covey/family.h>
#include <covey/manager.h>
#include <covey/memory.h>
#include <covey/pool.h>
#include <covey/process.h>
#include <covey/proxy.h>
#include <covey/queue.h>
#include <covey/remote.h>
#include <covey/segment.h>
#include <covey/shared.h>
#include <covey/sync.h>
#include <covey/tls.h>
#include <covey/value.h>

#endif
