#include "peerbench.h"
bool
pb_report_html(const char *path, const struct pb_options *options,
               const struct pb_machine *machine, const struct pb_plan *plan)
{ (void)path;(void)options;(void)machine;(void)plan; return true; }
