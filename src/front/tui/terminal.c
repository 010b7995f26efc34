/* SPDX-License-Identifier: MIT */
#define NCURSES_WIDECHAR 1
#include "front/tui/terminal.h"

#include <curses.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "front/tui/editline.h"

#define CTRL(letter) ((letter)&0x1f)
/* Keys of our own: terminals put these around a text that is pasted. */
enum { PASTE_BEGIN = 0x1001, PASTE_END };

static struct {
    SCREEN *screen;
    bool open, colour, utf8, pasting;
} term;

/* The locale says how characters are written and how wide they are; where it knows only ASCII, one
 * that is everywhere does instead. */
static void set_locale(void) {
    setlocale(LC_CTYPE, "");
    if (strcmp(nl_langinfo(CODESET), "UTF-8") != 0) setlocale(LC_CTYPE, "C.UTF-8");
    term.utf8 = !strcmp(nl_langinfo(CODESET), "UTF-8");
}

static void set_colours(void) {
    const char *no = getenv("NO_COLOR");
    term.colour = !(no && *no) && has_colors();
    if (!term.colour) return;
    start_color();
    use_default_colors();
    init_pair(1, COLORS >= 256 ? 208 : COLOR_YELLOW, -1); /* orange */
    init_pair(2, COLOR_CYAN, -1);
}

bool lethe_terminal_open(void) {
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO)) return false;
    set_locale();
    term.screen = newterm(NULL, stdout, stdin);
    if (!term.screen) return false;
    set_term(term.screen);
    term.open = true;
    raw(); /* Ctrl+C, Ctrl+S and Ctrl+Q are keys here */
    noecho();
    nonl();
    keypad(stdscr, TRUE);
    set_escdelay(30);
    mousemask(BUTTON1_PRESSED | BUTTON4_PRESSED | BUTTON5_PRESSED, NULL);
    mouseinterval(0);
    define_key("\033[200~", PASTE_BEGIN);
    define_key("\033[201~", PASTE_END);
    fputs("\033[?2004h", stdout);
    set_colours();
    return true;
}

void lethe_terminal_close(void) {
    if (!term.open) return;
    term.open = false;
    fputs("\033[?2004l", stdout);
    endwin();
    delscreen(term.screen);
    term.screen = NULL;
    fflush(stdout);
}

void lethe_terminal_size(int *rows, int *cols) {
    getmaxyx(stdscr, *rows, *cols);
    if (*rows < 0) *rows = 0;
    if (*cols < 0) *cols = 0;
}

/* ---- showing ----------------------------------------------------------------------------------
 */

static void look(unsigned l) {
    attr_t a = A_NORMAL;
    short pair = 0;
    if (l & LETHE_LOOK_BOLD) a |= A_BOLD;
    if (l & LETHE_LOOK_DIM) a |= A_DIM;
    if (l & LETHE_LOOK_REVERSE) a |= A_REVERSE;
    if (l & LETHE_LOOK_UNDERLINE) a |= A_UNDERLINE;
    if (term.colour && l & LETHE_LOOK_FORGETTING) pair = 1;
    if (term.colour && l & LETHE_LOOK_YOU) pair = 2;
    attr_set(a, pair, NULL);
}

/* Where only ASCII can be shown. */
static const char *ascii(const char *glyph) {
    if ((unsigned char)glyph[0] < 0x80) return glyph;
    if (!strcmp(glyph, "\xE2\x94\x80")) return "-";
    if (!strcmp(glyph, "\xE2\x94\x82")) return "|";
    return !strncmp(glyph, "\xE2\x94", 2) ? "+" : "?";
}

void lethe_terminal_show(const lethe_grid *g) {
    erase();
    for (int row = 0; row < g->rows; row++)
        for (int col = 0; col < g->cols; col++) {
            const lethe_cell *c = &g->cell[(size_t)row * (size_t)g->cols + (size_t)col];
            if (!c->glyph.width || (!c->look && !strcmp(c->glyph.text, " "))) continue;
            look(c->look);
            mvaddstr(row, col, term.utf8 ? c->glyph.text : ascii(c->glyph.text));
        }
    look(0);
    move(g->cursor_row, g->cursor_col);
    refresh();
}

/* ---- keys -------------------------------------------------------------------------------------
 */

static size_t utf8(uint32_t c, char out[8]) {
    size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char lead[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = n; i-- > 1; c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)(lead[n] | c);
    out[n] = '\0';
    return n;
}

static lethe_key edit(lethe_edit what) {
    return (lethe_key){.kind = LETHE_KEY_EDIT, .edit = (int)what};
}

static lethe_key mouse(void) {
    MEVENT m;
    if (getmouse(&m) != OK) return (lethe_key){0};
    lethe_key k = {.row = m.y, .col = m.x};
    if (m.bstate & BUTTON1_PRESSED) k.kind = LETHE_KEY_CLICK;
    if (m.bstate & BUTTON4_PRESSED) k.kind = LETHE_KEY_WHEEL_UP;
    if (m.bstate & BUTTON5_PRESSED) k.kind = LETHE_KEY_WHEEL_DOWN;
    return k;
}

static lethe_key special(wint_t c) {
    switch (c) {
    case KEY_ENTER: return (lethe_key){.kind = LETHE_KEY_SEND};
    case KEY_F(1): return (lethe_key){.kind = LETHE_KEY_HELP};
    case KEY_F(2): return (lethe_key){.kind = LETHE_KEY_BOTH};
    case KEY_F(3): return (lethe_key){.kind = LETHE_KEY_MARKS};
    case KEY_PPAGE: return (lethe_key){.kind = LETHE_KEY_PAGE_UP};
    case KEY_NPAGE: return (lethe_key){.kind = LETHE_KEY_PAGE_DOWN};
    case KEY_RESIZE: return (lethe_key){.kind = LETHE_KEY_RESIZE};
    case KEY_MOUSE: return mouse();
    case KEY_LEFT: return edit(LETHE_EDIT_LEFT);
    case KEY_RIGHT: return edit(LETHE_EDIT_RIGHT);
    case KEY_HOME: return edit(LETHE_EDIT_HOME);
    case KEY_END: return edit(LETHE_EDIT_END);
    case KEY_UP: return edit(LETHE_EDIT_EARLIER);
    case KEY_DOWN: return edit(LETHE_EDIT_LATER);
    case KEY_BACKSPACE: return edit(LETHE_EDIT_BACKSPACE);
    case KEY_DC: return edit(LETHE_EDIT_DELETE);
    case PASTE_BEGIN: term.pasting = true; return (lethe_key){0};
    case PASTE_END: term.pasting = false; return (lethe_key){0};
    default: return (lethe_key){0};
    }
}

static lethe_key control(wint_t c) {
    switch (c) {
    case '\r':
    case '\n':
    case CTRL('S'): return (lethe_key){.kind = LETHE_KEY_SEND};
    case CTRL('A'): return (lethe_key){.kind = LETHE_KEY_SWITCH};
    case CTRL('B'): return (lethe_key){.kind = LETHE_KEY_BOTH};
    case CTRL('T'): return (lethe_key){.kind = LETHE_KEY_MARKS};
    case CTRL('L'): return (lethe_key){.kind = LETHE_KEY_CLEAR};
    case CTRL('Q'): return (lethe_key){.kind = LETHE_KEY_QUIT};
    case CTRL('C'): return (lethe_key){.kind = LETHE_KEY_BREAK};
    case CTRL('['): return (lethe_key){.kind = LETHE_KEY_STOP};
    case CTRL('U'): return edit(LETHE_EDIT_KILL_LINE);
    case CTRL('W'): return edit(LETHE_EDIT_KILL_WORD);
    case CTRL('H'):
    case 0x7f: return edit(LETHE_EDIT_BACKSPACE);
    default: return (lethe_key){0};
    }
}

lethe_key lethe_terminal_key(int milliseconds) {
    wint_t c;
    timeout(milliseconds);
    int got = get_wch(&c);
    if (got == KEY_CODE_YES) return special(c);
    if (got != OK) return (lethe_key){0};
    lethe_key k = {.kind = LETHE_KEY_TEXT};
    if (term.pasting && (c == '\r' || c == '\n' || c == '\t')) c = ' '; /* a prompt is one line */
    if (c < 0x20 || c == 0x7f) return term.pasting ? (lethe_key){0} : control(c);
    utf8((uint32_t)c, k.text);
    return k;
}
