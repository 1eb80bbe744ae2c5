/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_display.h -- the full screen.  One thread only. */
#ifndef GIGATEST_GIGA_DISPLAY_H
#define GIGATEST_GIGA_DISPLAY_H

#include <stdbool.h>

#include "gigatest/giga_view.h"

/* False: standard output is no terminal, or one that cannot be drawn on; nothing was changed. */
bool giga_display_open(void);
void giga_display_draw(const struct giga_moment *moment);
/* Wait for a key at most wait_ms; 0: none came. */
enum giga_key { GIGA_KEY_NONE, GIGA_KEY_QUIT, GIGA_KEY_CHECKPOINT, GIGA_KEY_REDRAW };
enum giga_key giga_display_key(int wait_ms);
/* The terminal as it was.  Also done, as well as it can be, when the process dies of a fault. */
void giga_display_close(void);

#endif
