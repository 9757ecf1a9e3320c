/* SPDX-License-Identifier: MIT */
/* A shared object that a fork server loads before its first fork. */
extern int preload_count;
int preload_count = 1;
