/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_report_html.h -- the fixed parts of the page. */
#ifndef GIGATEST_GIGA_REPORT_HTML_H
#define GIGATEST_GIGA_REPORT_HTML_H

extern const char giga_html_head[]; /* up to and with the beginning of the content */
extern const char giga_html_tail[]; /* script and end */

#endif
