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
    if (!has_colors() || start_color() != OK)
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

/* Objects per second over the last `width` samples, as bars of `height` rows. */
static void
history_draw(const struct giga_series *series, int y, int x, int width, int height)
{
    static const char *const blocks[] = {" ",      "\u2581", "\u2582", "\u2583", "\u2584",
                                         "\u2585", "\u2586", "\u2587", "\u2588"};
    uint32_t step = 1 + series->sample_count / (8 * (uint32_t)width + 1);
    uint32_t bars = series->sample_count / step;
    uint32_t first = bars > (uint32_t)width ? bars - (uint32_t)width : 0;
    double rates[512] = {0};
    double most = 1;
    uint32_t count = 0;

    for (uint32_t i = first; i + 1 < bars && count < 512 && count < (uint32_t)width; i++, count++) {
        const struct giga_sample *left = &series->samples[(uint64_t)i * step];
        const struct giga_sample *right = &series->samples[(uint64_t)(i + 1) * step];
        uint64_t ns = right->ns - left->ns;

        rates[count] = ns == 0 ? 0 : (double)(right->work - left->work) * 1e9 / (double)ns;
        most = rates[count] > most ? rates[count] : most;
    }
    attron(COLOR_PAIR(PAIR_BAR));
    for (uint32_t i = 0; i < count; i++) {
        int eighths = (int)(rates[i] / most * height * 8 + 0.5);

        for (int line = 0; line < height; line++) {
            int here = eighths - (height - 1 - line) * 8;

            here = here < 0 ? 0 : here > 8 ? 8 : here;
            if (bars_smooth)
                mvaddstr(y + line, x + (int)i, blocks[here]);
            else
                mvaddch(y + line, x + (int)i, here >= 4 ? '#' : ' ');
        }
    }
    attroff(COLOR_PAIR(PAIR_BAR));
}

static void
foot_draw(const struct giga_moment *moment)
{
    const char *keys = COLS >= 60 ? " q or ESC: stop   c: checkpoint now   r: redraw" : " q c r";

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
    int height = LINES - left - 4;

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
    default: return GIGA_KEY_NONE;
    }
}
