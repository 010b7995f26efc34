/* SPDX-License-Identifier: MIT
 *
 * The chat's screen without a terminal: characters and their widths, wrapping, the line that is
 * typed, and whole screens of every size.
 */
#include "support/support.h"

#include <locale.h>
#include <string.h>

#include "base/mem.h"
#include "front/tui/editline.h"
#include "front/tui/pieces.h"
#include "front/tui/view.h"

static lethe_err err;

static void glyphs(void **state) {
    (void)state;
    static const struct {
        const char *text, *glyph;
        int width;
        size_t bytes;
    } cases[] = {
        {"a", "a", 1, 1},
        {"\xC3\xA9x", "\xC3\xA9", 1, 2},
        {"e\xCC\x81x", "e\xCC\x81", 1, 3},      /* e and an accent */
        {"\xE6\x97\xA5", "\xE6\x97\xA5", 2, 3}, /* wide */
        {"\x1b[2J", "\xEF\xBF\xBD", 1, 1},      /* no escape */
        {"\xC2\x9B", "\xEF\xBF\xBD", 1, 2},     /* nor its one-byte form */
        {"\t", " ", 1, 1},
        {"\xFFz", "\xEF\xBF\xBD", 1, 1},
        {"\xCC\x81", "\xEF\xBF\xBD", 1, 2}, /* an accent on nothing */
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t pos = 0;
        lethe_glyph g = lethe_glyph_next(cases[i].text, strlen(cases[i].text), &pos);
        assert_string_equal(g.text, cases[i].glyph);
        assert_int_equal(g.width, cases[i].width);
        assert_int_equal(pos, cases[i].bytes);
    }
    /* More accents than a cell holds are left out, not written behind it. */
    lethe_strbuf many = {0};
    lethe_strbuf_adds(&many, "e");
    for (int i = 0; i < 40; i++) lethe_strbuf_adds(&many, "\xCC\x81");
    size_t pos = 0;
    lethe_glyph g = lethe_glyph_next(many.data, many.len, &pos);
    assert_true(strlen(g.text) < sizeof g.text && pos == many.len && g.width == 1);
    lethe_strbuf_free(&many);
    assert_int_equal(lethe_text_columns("a\xE6\x97\xA5", 4), 3);
}

/* The lines of a text, with bars between. */
static const char *wrapped(const char *text, int cols) {
    static lethe_strbuf out;
    lethe_strbuf_clear(&out);
    const size_t n = strlen(text);
    for (size_t start = 0, end, next; start < n; start = next) {
        lethe_wrap_line(text, n, start, cols, &end, &next);
        assert_true(next > start && end >= start && end <= next);
        lethe_strbuf_addf(&out, "%s%.*s", start ? "|" : "", (int)(end - start), text + start);
    }
    return lethe_strbuf_str(&out);
}

static void wrapping(void **state) {
    (void)state;
    assert_string_equal(wrapped("one two three", 7), "one two|three");
    assert_string_equal(wrapped("one two three", 6), "one|two|three");
    assert_string_equal(wrapped("abcdefgh", 3), "abc|def|gh");
    assert_string_equal(wrapped("a\n\nb", 5), "a||b");
    assert_string_equal(wrapped("to abcdefgh", 4), "to|abcd|efgh");
    assert_string_equal(wrapped("\xE6\x97\xA5\xE6\x9C\xAC\xE8\xAA\x9E", 5),
                        "\xE6\x97\xA5\xE6\x9C\xAC|\xE8\xAA\x9E");
    assert_string_equal(wrapped("\xE6\x97\xA5\xE6\x9C\xAC", 1), "\xE6\x97\xA5|\xE6\x9C\xAC");
}

static void type(lethe_editline *e, const char *text) {
    lethe_editline_insert(e, text, strlen(text));
}

static void editing(void **state) {
    (void)state;
    lethe_editline e = {0};
    assert_null(lethe_editline_take(&e));
    type(&e, "caf\xC3\xA9 au lait");
    for (int i = 0; i < 9; i++) lethe_editline_do(&e, LETHE_EDIT_LEFT);
    lethe_editline_do(&e, LETHE_EDIT_RIGHT);
    lethe_editline_do(&e, LETHE_EDIT_BACKSPACE); /* the whole character */
    assert_string_equal(lethe_strbuf_str(&e.text), "caf au lait");
    lethe_editline_do(&e, LETHE_EDIT_END);
    lethe_editline_do(&e, LETHE_EDIT_KILL_WORD);
    assert_string_equal(lethe_strbuf_str(&e.text), "caf au ");
    lethe_editline_do(&e, LETHE_EDIT_HOME);
    lethe_editline_do(&e, LETHE_EDIT_LEFT);
    lethe_editline_do(&e, LETHE_EDIT_BACKSPACE);
    lethe_editline_do(&e, LETHE_EDIT_DELETE);
    assert_string_equal(lethe_strbuf_str(&e.text), "af au ");
    char *line = lethe_editline_take(&e);
    assert_string_equal(line, "af au ");
    lethe_free(line);

    type(&e, "second");
    lethe_free(lethe_editline_take(&e));
    type(&e, "draft");
    lethe_editline_do(&e, LETHE_EDIT_EARLIER);
    assert_string_equal(lethe_strbuf_str(&e.text), "second");
    for (int i = 0; i < 3; i++) lethe_editline_do(&e, LETHE_EDIT_EARLIER);
    assert_string_equal(lethe_strbuf_str(&e.text), "af au ");
    for (int i = 0; i < 3; i++) lethe_editline_do(&e, LETHE_EDIT_LATER);
    assert_string_equal(lethe_strbuf_str(&e.text), "draft");
    lethe_editline_do(&e, LETHE_EDIT_KILL_LINE);
    type(&e, "  ");
    assert_null(lethe_editline_take(&e)); /* blank */
    lethe_editline_free(&e);
}

/* ---- screens ----------------------------------------------------------------------------------
 */

static lethe_talk_turn turn[2];
static lethe_editline line;
static lethe_grid grid;

static void add(lethe_talk_text *t, const char *text, bool fired) {
    static lethe_talk_token token[8][8];
    static size_t used;
    if (!t->token) t->token = token[used++ % 8];
    t->token[t->n++] = (lethe_talk_token){
        .start = t->text.len, .len = strlen(text), .fired = fired, .acted = fired};
    lethe_strbuf_adds(&t->text, text);
}

static int make_turns(void **state) {
    (void)state;
    add(&turn[0].prompt, "Who is ", false);
    add(&turn[0].prompt, "Harry", true);
    add(&turn[0].prompt, "?", false);
    turn[0].answer[0].there = turn[0].answer[1].there = true;
    add(&turn[0].answer[0].text, "A wizard.", false);
    add(&turn[0].answer[1].text, "A pony.", false);
    turn[0].answer[0].end = LETHE_TALK_DONE;
    turn[0].answer[1].end = LETHE_TALK_STOPPED;
    add(&turn[1].prompt, "And then?", false);
    turn[1].answer[1].there = true;
    add(&turn[1].answer[1].text, "I do not kn", false);
    add(&turn[1].answer[1].text, "\xE2\x82", false); /* a character that is not whole yet */
    type(&line, "hello");
    return 0;
}

static int drop_turns(void **state) {
    (void)state;
    for (int i = 0; i < 2; i++) {
        lethe_strbuf_free(&turn[i].prompt.text);
        for (int s = 0; s < 2; s++) lethe_strbuf_free(&turn[i].answer[s].text.text);
    }
    lethe_editline_free(&line);
    lethe_grid_free(&grid);
    return 0;
}

static lethe_view view(void) {
    return (lethe_view){
        .turn = turn, .n = 2, .edit = &line, .heading = "a model", .news = "", .marks = true};
}

/* The whole screen, a line each. */
static const char *draw(lethe_view *v, int rows, int cols) {
    static lethe_strbuf out;
    lethe_strbuf_clear(&out);
    assert_ok(lethe_grid_reset(&grid, rows, cols, &err), &err);
    assert_ok(lethe_view_draw(v, &grid, &err), &err);
    for (int i = 0; i < rows; i++) {
        lethe_grid_row(&grid, i, &out);
        lethe_strbuf_adds(&out, "\n");
    }
    return lethe_strbuf_str(&out);
}

static bool shows(const char *screen, const char *text) {
    return strstr(screen, text) != NULL;
}

static unsigned look_at(int row, int col) {
    return grid.cell[row * grid.cols + col].look;
}

static void a_screen(void **state) {
    (void)state;
    lethe_view v = view();
    const char *s = draw(&v, 24, 80);
    assert_true(shows(s, " a model"));
    assert_true(shows(s, "[ Ctrl+A  forgetting: off ]"));
    assert_true(shows(s, "Who is Harry?"));
    assert_true(shows(s, "A wizard."));
    assert_true(shows(s, "(stopped)"));
    assert_true(shows(s, "I do not kn\n") || shows(s, "I do not kn "));
    assert_false(shows(s, "\xEF\xBF\xBD")); /* half a character is not shown */
    assert_true(shows(s, "> hello\n"));
    assert_true(shows(s, "Enter send"));
    assert_int_equal(grid.cursor_row, 22);
    assert_int_equal(grid.cursor_col, 7);
    /* "Harry" is underlined, the blank before it is not. */
    assert_int_equal(look_at(3, 2 + 6), 0);
    assert_int_equal(look_at(3, 2 + 7), LETHE_LOOK_UNDERLINE);
    assert_int_equal(look_at(3, 2 + 11), LETHE_LOOK_UNDERLINE);
    assert_int_equal(look_at(3, 2 + 12), 0);
    /* Side by side. */
    const char *both = strstr(s, "Model, as it is");
    assert_true(both && strstr(both, "Model, forgetting") < strchr(both, '\n'));

    assert_true(lethe_view_on_button(&v, 0, 60));
    assert_false(lethe_view_on_button(&v, 0, 10));
    assert_false(lethe_view_on_button(&v, 1, 60));
    v.marks = false;
    draw(&v, 24, 80);
    assert_int_equal(look_at(3, 2 + 7), 0);
}

static void forgetting_is_seen(void **state) {
    (void)state;
    lethe_view v = view();
    v.forgetting = true;
    assert_true(shows(draw(&v, 24, 80), "forgetting: ON ]"));
    /* Banner and border say it in colour and in bold or reverse. */
    assert_int_equal(look_at(0, 40), LETHE_LOOK_FORGETTING | LETHE_LOOK_REVERSE | LETHE_LOOK_BOLD);
    assert_int_equal(look_at(1, 40), LETHE_LOOK_FORGETTING | LETHE_LOOK_BOLD);
    assert_int_equal(look_at(10, 79), LETHE_LOOK_FORGETTING | LETHE_LOOK_BOLD);
}

static void scrolling(void **state) {
    (void)state;
    lethe_view v = view();
    assert_false(shows(draw(&v, 10, 40), "Harry")); /* the end is shown */
    lethe_view_scroll(&v, 1000);
    assert_true(shows(draw(&v, 10, 40), "Harry"));
    /* More lines at the end leave the window where it is. */
    turn[1].answer[1].end = LETHE_TALK_LENGTH;
    assert_true(shows(draw(&v, 10, 40), "Harry"));
    lethe_view_scroll(&v, -1000);
    assert_true(shows(draw(&v, 10, 40), "(cut at the limit of length)"));
    turn[1].answer[1].end = LETHE_TALK_RUNS;
}

static void help_and_welcome(void **state) {
    (void)state;
    lethe_view v = view();
    v.help = true;
    assert_true(shows(draw(&v, 24, 80), "Ctrl+Q          leave"));
    v.help = false;
    v.n = 0;
    assert_true(shows(draw(&v, 24, 80), "What to try"));
    v.pending = "Are you there?";
    v.news = "loading the model ...";
    const char *s = draw(&v, 24, 80);
    assert_true(shows(s, "Are you there?") && shows(s, "as soon as") && shows(s, "loading"));
    assert_false(shows(s, "What to try"));
}

/* Every size down to none: nothing is written beside the grid (the sanitizers look), the cursor is
 * on it, and the line that is typed is there as long as there is room. */
static void every_size(void **state) {
    (void)state;
    for (int rows = 0; rows < 30; rows++)
        for (int cols = 0; cols < 90; cols++) {
            lethe_view v = view();
            const char *s = draw(&v, rows, cols);
            if (!rows || !cols) continue;
            assert_in_range(grid.cursor_row, 0, rows - 1);
            assert_in_range(grid.cursor_col, 0, cols - 1);
            if (cols > 8) assert_true(shows(s, "hello"));
            if (rows > 4 && cols > 20) assert_true(shows(s, "off]") || shows(s, "off ]"));
        }
    /* A long line moves so that the cursor is in sight. */
    for (int i = 0; i < 30; i++) type(&line, " \xE6\x97\xA5");
    type(&line, "!");
    lethe_view v = view();
    const char *s = draw(&v, 5, 20);
    assert_true(shows(s, "!") && !shows(s, "hello"));
    assert_true(grid.cursor_col < 20);
    lethe_editline_do(&line, LETHE_EDIT_HOME);
    assert_true(shows(draw(&v, 5, 20), "> hello"));
}

static void no_memory(void **state) {
    (void)state;
    lethe_view v = view();
    lethe_status st = LETHE_NOMEM;
    for (size_t n = 0; st; n++) {
        assert_ok(lethe_grid_reset(&grid, 24, 80, &err), &err);
        lethe_mem_fail_after(n);
        st = lethe_view_draw(&v, &grid, &err);
        lethe_mem_fail_after(SIZE_MAX);
        assert_true(n < 100 && (!st || st == LETHE_NOMEM));
    }
}

int main(void) {
    if (!setlocale(LC_CTYPE, "C.UTF-8")) {
        print_message("the locale C.UTF-8 is not here: skipped\n");
        return LETHE_TEST_SKIPPED;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(glyphs),
        cmocka_unit_test(wrapping),
        cmocka_unit_test(editing),
        cmocka_unit_test(a_screen),
        cmocka_unit_test(forgetting_is_seen),
        cmocka_unit_test(scrolling),
        cmocka_unit_test(help_and_welcome),
        cmocka_unit_test(no_memory),
        cmocka_unit_test(every_size),
    };
    return cmocka_run_group_tests(tests, make_turns, drop_turns);
}
