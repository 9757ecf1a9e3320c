/* SPDX-License-Identifier: MIT */
/**
 * tools/tools.h: the parts of the `covey` command.
 */
#ifndef CVY_TOOLS_TOOLS_H
#define CVY_TOOLS_TOOLS_H

/** Exit statuses besides EXIT_SUCCESS: the work failed; it was called wrongly. */
enum { CVY_TOOL_FAILED = 1, CVY_TOOL_USAGE = 2 };

/** What was asked for has been printed. Returns: the exit status, 1 after saying why if it
 * could not be written. */
int cvy_tool_printed(void);

/** `covey serve`. argv[0] is "serve". Returns: the exit status. */
int cvy_tool_serve(int argc, char **argv);

#endif
