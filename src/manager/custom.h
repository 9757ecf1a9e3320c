/* SPDX-License-Identifier: MIT */
/**
 * manager/custom.h: classes that a program defines.
 */
#ifndef CVY_MANAGER_CUSTOM_H
#define CVY_MANAGER_CUSTOM_H

#include "manager/class.h"
#include "os/code.h"

#include <covey/manager.h>

struct cvy_custom_class;

/** Copy a class. Returns: 0; -EINVAL; -ENOMEM. */
int cvy_custom_make(struct cvy_custom_class **out, const char *name,
                    const struct covey_class *cls) COVEY_MUST_CHECK;
/** What class.h calls a class; the same memory. */
const struct cvy_class *cvy_custom_class_of(const struct cvy_custom_class *custom);
void cvy_custom_class_free(const struct cvy_class *cls);

/** Write a class as a value that holds in other processes of the program, and read it. */
int cvy_custom_to_value(const struct cvy_class *cls,
                        covey_value **out) COVEY_MUST_CHECK;
int cvy_custom_from_value(const covey_value *value,
                          struct cvy_custom_class **out) COVEY_MUST_CHECK;

/** A function as a value that holds in other processes of the program: None for NULL.
 * Returns: NULL as all makers, and for what lies in no program. */
covey_value *cvy_code_to_value(cvy_code_fn *fn);
int cvy_code_from_value(const covey_value *value, cvy_code_fn **ret) COVEY_MUST_CHECK;

#endif
