/* engine/status_map.h -- the two enumerations of statuses have the same numbers. */
#ifndef ENGINE_STATUS_MAP_H
#define ENGINE_STATUS_MAP_H

#include "ftk/status.h"
#include "kiln.h"

/* The two enumerations have the same numbers (engine/status_api.c asserts it). */
static inline kiln_status
kiln_status_of(ftk_status status)
{
    return (kiln_status)status;
}

/* What a function of the public interface has returned (engine/db.h has kiln_status_of). */
static inline ftk_status
ftk_status_of(kiln_status status)
{
    return (ftk_status)(int)status;
}

#endif
