/* SPDX-License-Identifier: Apache-2.0 */
/* gigatest/giga_display.c -- see giga_display.h. */
#include "gigatest/giga_display.h"

#include <langinfo.h>
#include <locale.h>
#include <ncurses.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <term.h>
#include <termios.h>
#include <unistd.h>

#include "ftk/number.h"

#define COLUMN_WIDE 78 /* two columns from here on */
#define LABEL_WIDE 20

enum { PAIR_TITLE = 1, PAIR_HEADING, PAIR_BAR, PAIR_WARN, PAIR_DIM };

static SCREEN *screen;
static bool keys_come;
static bool bars_smooth; /* the terminal can show block elements */
static bool help_shown;

/* ---- the terminal after a fault ------------------------------------------------------------- */

static struct termios terminal_before;
static char terminal_leave[128];
static volatile sig_atomic_t terminal_leave_size;
static const int faults[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};

static void
on_fault(int number)
{
    if (terminal_leave_size > 0) {
        ssize_t written = write(STDOUT_FILENO, terminal_leave, (size_t)terminal_leave_size);

        (void)written;
        tcsetattr(STDOUT_FILENO, TCSANOW, &terminal_before);
    }
    raise(number); /* SA_RESETHAND: the default now */
}

static void
leave_append(const char *text)
{
    size_t used = (size_t)terminal_leave_size;
    size_t size = text == NULL || text == (const char *)-1 ? 0 : strlen(text);

    if (used + size <= sizeof(terminal_leave)) {
        memcpy(terminal_leave + used, size > 0 ? text : "", size);
        terminal_leave_size = (sig_atomic_t)(used + size);
    }
}

static void
faults_catch(bool on)
{
    struct sigaction action;

    memset(&action, 0, sizeof(action));
    sigemptyset(&action.sa_mask);
    action.sa_handler = on ? on_fault : SIG_DFL;
    action.sa_flags = on ? (int)SA_RESETHAND : 0;
    for (unsigned i = 0; i < sizeof(faults) / sizeof(*faults); i++)
        sigaction(faults[i], &action, NULL);
}

static void
leave_prepare(void)
{
    static char name_sgr0[] = "sgr0";
    static char name_cnorm[] = "cnorm";
    static char name_rmcup[] = "rmcup";

    leave_append(tigetstr(name_sgr0));
    leave_append(tigetstr(name_cnorm));
    leave_append(tigetstr(name_rmcup));
    faults_catch(true);
}

/* ---- open and close ------------------------------------------------------------------------- */

static void
colours_start(void)
{
    const char *no_color = getenv("NO_COLOR"); /* no-color.org: set and not empty */

    if ((no_color != NULL && *no_color != 0) || !has_colors() || start_color() != OK)
        return;
    use_default_colors();
    init_pair(PAIR_TITLE, COLOR_BLACK, COLOR_CYAN);
    init_pair(PAIR_HEADING, COLOR_CYAN, -1);
    init_pair(PAIR_BAR, COLOR_GREEN, -1);
    init_pair(PAIR_WARN, COLOR_YELLOW, -1);
    init_pair(PAIR_DIM, COLOR_BLUE, -1);
}

/* It is known, no printer, and its cursor can be put anywhere. */
static bool
terminal_can_address(void)
{
    int known;
    bool can;

    if (setupterm(NULL, STDOUT_FILENO, &known) != OK)
        return false;
    can = tigetflag((char[]){"hc"}) <= 0 && tigetstr((char[]){"cup"}) != NULL;
    del_curterm(cur_term);
    return can;
}

bool
giga_display_open(void)
{
    const char *kind = getenv("TERM");

    if (!isatty(STDOUT_FILENO) || kind == NULL || *kind == 0 || strcmp(kind, "dumb") == 0 ||
        tcgetattr(STDOUT_FILENO, &terminal_before) != 0)
        return false;
    setlocale(LC_CTYPE, "");
    if (!terminal_can_address())
        return false;
    screen = newterm(NULL, stdout, stdin);
    if (screen == NULL)
        return false;
    set_term(screen);
    bars_smooth = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    keys_come = isatty(STDIN_FILENO) != 0;
    cbreak();
    noecho();
    nonl();
    intrflush(stdscr, FALSE);
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    set_escdelay(25);
    curs_set(0);
    colours_start();
    leave_prepare();
    return true;
}

void
giga_display_close(void)
{
    if (screen == NULL)
        return;
    terminal_leave_size = 0;
    faults_catch(false);
    curs_set(1);
    endwin();
    delscreen(screen);
    screen = NULL;
}

/* ---- drawing -------------------------------------------------------------------------------- */

/* At most `width` bytes of text at (y, x), cut at the screen's edge; rows below the screen are not
 * drawn. */
static void
put(int y, int x, int width, const char *text)
{
    if (y >= LINES || x >= COLS)
        return;
    if (width > COLS - x)
        width = COLS - x;
    mvaddnstr(y, x, text, width);
}

/* Returns the row below. */
static int
rows_draw(const struct giga_rows *rows, int y, int x, int width)
{
    for (uint32_t i = 0; i < rows->count && y < LINES - 1; i++, y++) {
        const struct giga_row *at = &rows->rows[i];

        if (at->heading) {
            if (i > 0)
                y++;
            if (y >= LINES - 1)
                break;
            attron(A_BOLD | COLOR_PAIR(PAIR_HEADING));
            put(y, x, width, at->label);
            attroff(A_BOLD | COLOR_PAIR(PAIR_HEADING));
        } else {
            put(y, x + 2, width - 2, at->label);
            attron(A_BOLD);
            put(y, x + 2 + LABEL_WIDE, width - 2 - LABEL_WIDE, at->value);
            attroff(A_BOLD);
        }
    }
    return y;
}

static void
share_draw(int y, double share)
{
    int width = COLS - 4;
    int full = (int)(share * width);

    if (share < 0 || width < 10 || y >= LINES - 1)
        return;
    put(y, 1, 1, "[");
    attron(A_BOLD | COLOR_PAIR(PAIR_BAR));
    for (int i = 0; i < full; i++)
        put(y, 2 + i, 1, "=");
    attroff(A_BOLD | COLOR_PAIR(PAIR_BAR));
    if (full < width)
        put(y, 2 + full, 1, ">");
    put(y, 2 + width, 1, "]");
}

#define BARS_MAX 512

/* Objects per second, of the last samples that fit. */
struct history {
    double rates[BARS_MAX];
    uint32_t count;
    double most;
    uint64_t first_ns, last_ns;
};

static void
history_make(struct history *history, const struct giga_series *series, uint32_t width)
{
    uint32_t step = 1 + series->sample_count / (8 * width + 1);
    uint32_t bars = series->sample_count / step;
    uint32_t first = bars > width ? bars - width : 0;

    memset(history, 0, sizeof(*history));
    for (uint32_t i = first; i + 1 < bars && history->count < BARS_MAX && history->count < width;
         i++, history->count++) {
        const struct giga_sample *left = &series->samples[(uint64_t)i * step];
        const struct giga_sample *right = &series->samples[(uint64_t)(i + 1) * step];
        uint64_t ns = right->ns - left->ns;
        double rate = ns == 0 ? 0 : (double)(right->work - left->work) * 1e9 / (double)ns;

        if (history->count == 0)
            history->first_ns = left->ns;
        history->last_ns = right->ns;
        history->rates[history->count] = rate;
        history->most = rate > history->most ? rate : history->most;
    }
}

/* Two digits and a unit, right-aligned in AXIS_WIDE - 1 columns: the highest bar, and none. */
#define AXIS_WIDE 7
static void
history_axes(const struct history *history, int y, int x, int width, int height)
{
    char text[FTK_NUMBER_TEXT_MAX];
    char label[FTK_NUMBER_TEXT_MAX + 4];
    double most = history->most;

    if (most >= 1e6)
        snprintf(text, sizeof(text), "%.3gm", most / 1e6);
    else
        snprintf(text, sizeof(text), most >= 1e3 ? "%.3gk" : "%.3g",
                 most >= 1e3 ? most / 1e3 : most);
    snprintf(label, sizeof(label), "%*.*s", AXIS_WIDE - 1, AXIS_WIDE - 1, text);
    put(y, x, AXIS_WIDE, label);
    snprintf(label, sizeof(label), "%*s", AXIS_WIDE - 1, "0");
    put(y + height - 1, x, AXIS_WIDE, label);
    put(y + height, x + AXIS_WIDE, width - AXIS_WIDE,
        ftk_seconds_text(text, (double)history->first_ns / 1e9));
    ftk_seconds_text(text, (double)history->last_ns / 1e9);
    if (history->count > 2 * 12)
        put(y + height, x + AXIS_WIDE + (int)history->count - (int)strlen(text), width, text);
}

/* Bars of `height` rows, a row below for the time, the scale on their left. */
static void
history_draw(const struct giga_series *series, int y, int x, int width, int height)
{
    static const char *const blocks[] = {" ",      "\u2581", "\u2582", "\u2583", "\u2584",
                                         "\u2585", "\u2586", "\u2587", "\u2588"};
    struct history history;

    if (width <= AXIS_WIDE)
        return;
    history_make(&history, series, (uint32_t)(width - AXIS_WIDE));
    if (history.count == 0)
        return;
    history_axes(&history, y, x, width, height);
    attron(COLOR_PAIR(PAIR_BAR));
    for (uint32_t i = 0; i < history.count; i++) {
        double share = history.most > 0 ? history.rates[i] / history.most : 0;
        int eighths = (int)(share * height * 8 + 0.5);

        for (int line = 0; line < height; line++) {
            int here = eighths - (height - 1 - line) * 8;

            here = here < 0 ? 0 : here > 8 ? 8 : here;
            if (bars_smooth)
                mvaddstr(y + line, x + AXIS_WIDE + (int)i, blocks[here]);
            else
                mvaddch(y + line, x + AXIS_WIDE + (int)i, here >= 4 ? '#' : ' ');
        }
    }
    attroff(COLOR_PAIR(PAIR_BAR));
}

static void
help_draw(void)
{
    static const char *const texts[] = {
        "q, ESC   stop at the end of the running transaction; all committed is kept",
        "c        make a checkpoint now",
        "r        draw the screen anew",
        "?, h     this text, and back",
        "",
        "Total, Done        objects of this kind of work",
        "Dirty              cache pages that the next checkpoint has to write",
        "Log to replay      what an open would have to do after a crash now",
        "Buffer waits       times that an I/O had to wait for a buffer",
        "Ended out of order I/Os that ended before one that began earlier",
        "Writers slowed     time that commits slept for the checkpoint to keep up",
        "",
        "Everything else: gigatest(1)",
    };

    for (int i = 0; i < (int)(sizeof(texts) / sizeof(*texts)); i++) {
        if (2 + i < LINES - 1)
            put(2 + i, 2, COLS - 2, texts[i]);
    }
}

static void
foot_draw(const struct giga_moment *moment)
{
    const char *keys =
        COLS >= 60 ? " q or ESC: stop   c: checkpoint now   r: redraw   ?: help" : " q c r ?";

    if (LINES < 2)
        return;
    attron(COLOR_PAIR(PAIR_DIM) | A_BOLD);
    put(LINES - 1, 0, COLS, keys_come ? keys : "");
    attroff(COLOR_PAIR(PAIR_DIM) | A_BOLD);
    if (moment->note == NULL && !moment->stopping)
        return;
    attron(COLOR_PAIR(PAIR_WARN) | A_BOLD);
    move(LINES - 1, 0);
    clrtoeol();
    put(LINES - 1, 0, COLS - 1,
        moment->stopping ? " stopping: the running transaction ends, then the database is closed"
                         : moment->note);
    attroff(COLOR_PAIR(PAIR_WARN) | A_BOLD);
}

/* Work and its history on the left, cache and device on the right. */
static void
columns_draw(const struct giga_view *view, const struct giga_series *series, int y)
{
    int half = COLS / 2;
    int left = rows_draw(&view->work, y, 1, half - 2);
    int right = rows_draw(&view->cache, y, half + 1, half - 2);
    int height = LINES - left - 5; /* heading, times, foot */

    rows_draw(&view->device, right + 1, half + 1, half - 2);
    if (height < 4)
        return;
    attron(A_BOLD | COLOR_PAIR(PAIR_HEADING));
    put(left + 1, 1, half - 2, "objects per second over time");
    attroff(A_BOLD | COLOR_PAIR(PAIR_HEADING));
    history_draw(series, left + 2, 3, half - 6, height < 12 ? height : 12);
}

void
giga_display_draw(const struct giga_moment *moment)
{
    struct giga_view view;
    int y = LINES < 12 ? 1 : 4;

    giga_view_make(&view, moment);
    erase();
    attron(COLOR_PAIR(PAIR_TITLE) | A_BOLD);
    for (int x = 0; x < COLS; x++)
        put(0, x, 1, " ");
    put(0, 1, COLS - 1, view.title);
    attroff(COLOR_PAIR(PAIR_TITLE) | A_BOLD);
    if (help_shown) {
        help_draw();
        foot_draw(moment);
        refresh();
        return;
    }
    share_draw(2, view.share);
    if (COLS >= COLUMN_WIDE) {
        columns_draw(&view, moment->series, y);
    } else {
        y = rows_draw(&view.work, y, 0, COLS);
        y = rows_draw(&view.cache, y + 1, 0, COLS);
        rows_draw(&view.device, y + 1, 0, COLS);
    }
    foot_draw(moment);
    refresh();
}

/* ---- keys ----------------------------------------------------------------------------------- */

enum giga_key
giga_display_key(int wait_ms)
{
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    int key;

    poll(&input, keys_come ? 1 : 0, wait_ms); /* a signal ends it early: that is well */
    if ((input.revents & (POLLHUP | POLLERR | POLLNVAL)) != 0)
        keys_come = false; /* the terminal has gone */
    key = getch();         /* also learns of a new size */
    switch (key) {
    case 'q':
    case 'Q':
    case 27: return GIGA_KEY_QUIT;
    case 'c':
    case 'C': return GIGA_KEY_CHECKPOINT;
    case 'r':
    case 'R':
    case 12:
    case KEY_RESIZE: clearok(stdscr, TRUE); return GIGA_KEY_REDRAW;
    case '?':
    case 'h':
    case 'H':
    case KEY_F(1): help_shown = !help_shown; return GIGA_KEY_REDRAW;
    default: return GIGA_KEY_NONE;
    }
}
