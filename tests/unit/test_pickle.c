/* SPDX-License-Identifier: MIT
 *
 * Pickles: each opcode and name gives the value that Python would give, whatever is not data is
 * refused by its name, and no pickle takes more memory than it is worth.
 */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "format/bundle.h"
#include "format/pickle.h"
#include "support/containers.h"
#include "support/packs.h"

static const char *dir;

/* A checkpoint of this pickle and one storage of 24 floats 0, 1, ..; its path. */
static const char *checkpoint(const void *pickle, size_t n) {
    static char path[512];
    float x[24];
    for (int i = 0; i < 24; i++) x[i] = (float)i;
    const raw_member member[] = {
        {.name = "a/data.pkl", .data = pickle, .n = n},
        {.name = "a/data/0", .data = x, .n = sizeof x},
        {.name = "a/version", .data = "3\n", .n = 2},
    };
    lethe_strbuf zip = {0};
    raw_zip(&zip, member, 3);
    snprintf(path, sizeof path, "%s/a.pt", dir);
    pack_spill(path, zip.data, zip.len);
    lethe_strbuf_free(&zip);
    return path;
}

/* ---- values --------------------------------------------------------------------------------- */

typedef struct text_case {
    const char *pickle;
    size_t n;
    const char *says;
} text_case;

#define CASE(pickle, says) \
    { pickle, sizeof pickle - 1, says }

static const text_case values[] = {
    /* numbers */
    CASE("\x80\x02N.", "{\"data\":null}"),
    CASE("\x80\x02\x88.", "{\"data\":true}"),
    CASE("\x80\x02\x89.", "{\"data\":false}"),
    CASE("\x80\x02K\xff.", "{\"data\":255}"),
    CASE("\x80\x02M\xff\xff.", "{\"data\":65535}"),
    CASE("\x80\x02J\xff\xff\xff\xff.", "{\"data\":-1}"),
    CASE("\x80\x02\x8a\x00.", "{\"data\":0}"),
    CASE("\x80\x02\x8a\x01\xff.", "{\"data\":-1}"),
    CASE("\x80\x02\x8a\x02\xff\x00.", "{\"data\":255}"),
    CASE("\x80\x02\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80.", "{\"data\":-9223372036854775808}"),
    CASE("\x80\x02\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\x01.",
         "{\"data\":1.8446744073709552e19}"),
    CASE("\x80\x02\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x00\xff.",
         "{\"data\":-1.8446744073709552e19}"),
    CASE("\x80\x02\x8b\x02\x00\x00\x00\x00\x01.", "{\"data\":256}"),
    CASE("\x80\x02G\x3f\xf8\x00\x00\x00\x00\x00\x00.", "{\"data\":1.5}"),
    CASE("\x80\x02G\x7f\xf0\x00\x00\x00\x00\x00\x00.", "{\"data\":null}"), /* infinity */
    /* text */
    CASE("\x80\x04\x8c\x02hi.", "{\"data\":\"hi\"}"),
    CASE("\x80\x02X\x02\x00\x00\x00hi.", "{\"data\":\"hi\"}"),
    CASE("\x80\x04\x8d\x02\x00\x00\x00\x00\x00\x00\x00hi.", "{\"data\":\"hi\"}"),
    CASE("\x80\x02U\x02hi.", "{\"data\":\"hi\"}"),
    CASE("\x80\x02T\x02\x00\x00\x00hi.", "{\"data\":\"hi\"}"),
    CASE("\x80\x02U\x01\xff.", "{\"data\":\"\xef\xbf\xbd\"}"),
    /* containers */
    CASE("\x80\x02].", "{\"data\":[]}"),
    CASE("\x80\x02]K\x01"
         "a.",
         "{\"data\":[1]}"),
    CASE("\x80\x02](K\x01K\x02"
         "e.",
         "{\"data\":[1,2]}"),
    CASE("\x80\x02(K\x01K\x02l.", "{\"data\":[1,2]}"),
    CASE("\x80\x02).", "{\"data\":[]}"),
    CASE("\x80\x02K\x01\x85.", "{\"data\":[1]}"),
    CASE("\x80\x02K\x01K\x02\x86.", "{\"data\":[1,2]}"),
    CASE("\x80\x02K\x01K\x02K\x03\x87.", "{\"data\":[1,2,3]}"),
    CASE("\x80\x02(K\x01K\x02K\x03K\x04t.", "{\"data\":[1,2,3,4]}"),
    CASE("\x80\x02}.", "{}"),
    CASE("\x80\x02}U\x01kK\x01s.", "{\"k\":1}"),
    CASE("\x80\x02}(U\x01kK\x01K\x07K\x02u.", "{\"k\":1,\"7\":2}"),
    CASE("\x80\x02(U\x01kK\x01"
         "d.",
         "{\"k\":1}"),
    CASE("\x80\x04\x8f(K\x01\x90.", "{\"data\":[1]}"),
    CASE("\x80\x04(K\x01\x91.", "{\"data\":[1]}"),
    CASE("\x80\x04\x95\x04\x00\x00\x00\x00\x00\x00\x00K\x01.", "{\"data\":1}"),
    /* stack and memo */
    CASE("\x80\x02K\x01K\x02"
         "0.",
         "{\"data\":1}"),
    CASE("\x80\x02K\x01(K\x02K\x03"
         "1.",
         "{\"data\":1}"),
    CASE("\x80\x02K\x01(0.", "{\"data\":1}"),
    CASE("\x80\x02K\x01"
         "2\x86.",
         "{\"data\":[1,1]}"),
    CASE("\x80\x02K\x01q\x03K\x02h\x03\x86.", "{\"data\":[2,1]}"),
    CASE("\x80\x02K\x01r\x03\x00\x00\x00"
         "0j\x03\x00\x00\x00.",
         "{\"data\":1}"),
    CASE("\x80\x04K\x01\x94K\x02\x94h\x00\x86\x85.", "{\"data\":[[2,1]]}"),
    /* names */
    CASE("\x80\x02"
         "ccollections\nOrderedDict\n)R(U\x01kK\x01u}U\x01_K\x02sb.",
         "{\"k\":1}"),
    CASE("\x80\x02"
         "ccollections\nOrderedDict\n]U\x01kK\x01\x86"
         "a\x85R.",
         "{\"k\":1}"),
    CASE("\x80\x02"
         "ccollections\ndefaultdict\nc__builtin__\ndict\n}U\x01kK\x01s\x86R.",
         "{\"k\":1}"),
    CASE("\x80\x02"
         "cargparse\nNamespace\n)\x81}U\x01kK\x01sb.",
         "{\"k\":1}"),
    CASE("\x80\x04\x8c\x08"
         "argparse\x8c\x09Namespace\x93)}\x92}\x8c\x01kK\x01sb.",
         "{\"k\":1}"),
    CASE("\x80\x02"
         "ctorch\nSize\nK\x03K\x04\x86\x85R.",
         "{\"data\":[3,4]}"),
    CASE("\x80\x02"
         "c__builtin__\nset\n]K\x01"
         "a\x85R.",
         "{\"data\":[1]}"),
    CASE("\x80\x02"
         "ctorch\ndevice\nU\x04"
         "cuda"
         "K\x01\x86R.",
         "{\"data\":\"cuda:1\"}"),
    CASE("\x80\x02"
         "ctorch\ndevice\nU\x03"
         "cpu\x85R.",
         "{\"data\":\"cpu\"}"),
    CASE("\x80\x02"
         "ctorch\nbfloat16\n.",
         "{\"data\":\"torch.bfloat16\"}"),
    CASE("\x80\x02"
         "cpathlib\nPosixPath\n(U\x01/U\x01"
         "aU\x01"
         "btR.",
         "{\"data\":\"/a/b\"}"),
    CASE("\x80\x02"
         "cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nU\x02"
         "f4\x89\x88\x87R"
         "(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
         "c_codecs\nencode\nX\x05\x00\x00\x00\x00\x00\xc3\x80?U\x06latin1\x86R\x86R.",
         "{\"data\":1.5}"),
    CASE("\x80\x04"
         "cnumpy._core.multiarray\nscalar\ncnumpy\ndtype\nU\x02i2\x89\x88\x87R"
         "(K\x03U\x01>tb"
         "C\x02\xff\xfe\x86R.",
         "{\"data\":-2}"),
    CASE("\x80\x04"
         "cnumpy._core.multiarray\nscalar\ncnumpy\ndtype\nU\x02u8\x89\x88\x87R"
         "C\x08\xff\xff\xff\xff\xff\xff\xff\xff\x86R.",
         "{\"data\":1.8446744073709552e19}"),
};

static void values_are_pythons(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        lethe_err err = {0};
        lethe_bundle *b = NULL;
        lethe_status st = lethe_bundle_open(&b, checkpoint(values[i].pickle, values[i].n), &err);
        if (st) print_error("case %zu (%s): %s\n", i, values[i].says, err.text);
        assert_int_equal(st, LETHE_OK);
        char *json = json_dumps(lethe_bundle_values(b), JSON_COMPACT);
        assert_string_equal(json, values[i].says);
        free(json);
        assert_int_equal(lethe_bundle_count(b), 0);
        lethe_bundle_close(&b);
    }
}

/* ---- what is refused ------------------------------------------------------------------------ */

static const text_case bad[] = {
    CASE("\x80\x02"
         "cos\nsystem\nU\x04true\x85R.",
         "a.pt: the pickle calls os.system; nothing is"),
    CASE("\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x04true\x85R.", "calls os.system"),
    CASE("(S'true'\nios\nsystem\n.", "opcode 0x53"),
    CASE("(ios\nsystem\n.", "calls os.system"),
    CASE("\x80\x02"
         "c__builtin__\neval\nU\x01"
         "1\x85R.",
         "calls __builtin__.eval"),
    CASE("\x80\x02"
         "ctorch._utils\n_rebuild_sparse_tensor\n.",
         "a sparse tensor"),
    CASE("\x80\x02"
         "ctorch._utils\n_rebuild_qtensor\n.",
         "a quantised tensor"),
    CASE("\x80\x02"
         "cnumpy.core.multiarray\n_reconstruct\n.",
         "a NumPy array"),
    CASE("\x80\x02"
         "ctorch.nn.modules.linear\nLinear\n)\x81.",
         "calls torch.nn.modules.linear.Linear"),
    CASE("\x80\x02"
         "c\x1b[2Jx\ny\n.",
         "calls ?[2Jx.y"),
    CASE("\x80\x06N.", "protocol 6"),
    CASE("\x80\x02\x82\x01.", "opcode 0x82"),
    CASE("\x80\x02\x97.", "opcode 0x97"),
    CASE("\x80\x02.", "takes 1 values from a stack of 0"),
    CASE("\x80\x02"
         "0.",
         "takes 1 values from a stack of 0"),
    CASE("\x80\x02K\x01(.", "takes 1 values from a stack of 0"),
    CASE("\x80\x02K\x01\x86.", "takes 2 values from a stack of 1"),
    CASE("\x80\x02t.", "no mark"),
    CASE("\x80\x02h\x01.", "memo number 1 was never put"),
    CASE("\x80\x02Nq\x02h\x01.", "memo number 1 was never put"),
    CASE("\x80\x02Nr\xff\xff\xff\xff.", "memo number 4294967295 in a pickle of 9 bytes"),
    CASE("\x80\x02q\x01.", "takes 1 values"),
    CASE("\x80\x02X\xff\xff\xff\xffhi.", "cut off after 10 bytes, in the instruction at byte 2"),
    CASE("\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\xffhi.", "cut off"),
    CASE("\x80\x04\x8e\x00\x00\x00\x80\x00\x00\x00\x00.", "cut off"),
    CASE("\x80\x02\x8b\xff\xff\xff\xff.", "an integer of 4294967295 bytes"),
    CASE("\x80\x02"
         "cos\nsystem",
         "cut off"),
    CASE("\x80\x02}K\x01K\x02"
         "e.",
         "no mark"),
    CASE("\x80\x02}(K\x01"
         "e.",
         "got a dictionary, want a list"),
    CASE("\x80\x02](K\x01K\x02u.", "got a list, want a dictionary"),
    CASE("\x80\x02}(K\x01u.", "a dictionary got 1 values, want pairs"),
    CASE("\x80\x02}NK\x01s.", "a key is None"),
    CASE("\x80\x02}K\x01K\x01sK\x01K\x02s.", "\"1\" is there twice"),
    CASE("\x80\x02}U\x02"
         "a\x00K\x02s.",
         "a key is not UTF-8 or has a NUL"),
    CASE("\x80\x02}U\x01\xffK\x02s.", "a key is not UTF-8 or has a NUL"),
    CASE("\x80\x04"
         "C\x01x.",
         "\"data\" is bytes"),
    CASE("\x80\x02K\x01)R.", "calls an integer"),
    CASE("\x80\x02"
         "ccollections\nOrderedDict\nK\x01R.",
         "got an integer, want a tuple"),
    CASE("\x80\x02"
         "ccollections\nOrderedDict\nK\x01\x85R.",
         "a dictionary made of an integer"),
    CASE("\x80\x02"
         "ctorch\nFloatStorage\n)R.",
         "torch.FloatStorage is called"),
    CASE("\x80\x02"
         "cargparse\nNamespace\nK\x01\x85\x81.",
         "with 1 arguments, want none"),
    CASE("\x80\x02"
         "cargparse\nNamespace\n)\x81K\x01"
         "b.",
         "an object gets an integer"),
    CASE("\x80\x02"
         "cargparse\nNamespace\n)}K\x01K\x02s\x92.",
         "keyword arguments"),
    CASE("\x80\x02"
         "2b.",
         "takes 1 values"),
    CASE("\x80\x02"
         "c_codecs\nencode\nU\x01"
         "aU\x05utf-8\x86R.",
         "encoded as \"utf-8\""),
    CASE("\x80\x02"
         "cnumpy\ndtype\nU\x02O8\x85R.",
         "dtype \"O8\""),
    CASE("\x80\x02K\x01Q.", "a persistent number that is an integer"),
    CASE("\x80\x02(U\x06moduleU\x01xU\x01xU\x01xK\x01tQ.", "argument 2 of a call is text"),
};

static void others_are_refused(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lethe_err err = {0};
        lethe_bundle *b = NULL;
        lethe_status st = lethe_bundle_open(&b, checkpoint(bad[i].pickle, bad[i].n), &err);
        if (st != LETHE_FORMAT || !strstr(err.text, bad[i].says))
            print_error("case %zu: %d \"%s\", want \"%s\"\n", i, (int)st, err.text, bad[i].says);
        assert_int_equal(st, LETHE_FORMAT);
        assert_null(b);
        assert_non_null(strstr(err.text, bad[i].says));
        assert_non_null(strstr(err.text, "a.pt: "));
    }
}

/* ---- sizes ---------------------------------------------------------------------------------- */

static void refused(const lethe_strbuf *p, const char *says) {
    lethe_err err = {0};
    lethe_bundle *b = NULL;
    assert_int_equal(p->status, LETHE_OK);
    assert_int_equal(lethe_bundle_open(&b, checkpoint(p->data, p->len), &err), LETHE_FORMAT);
    if (!strstr(err.text, says)) print_error("got \"%s\", want \"%s\"\n", err.text, says);
    assert_non_null(strstr(err.text, says));
}

static void deep(void **state) {
    (void)state;
    lethe_strbuf p = {0};
    for (int i = 0; i < 100000; i++) lethe_strbuf_adds(&p, "]");
    for (int i = 1; i < 100000; i++) lethe_strbuf_adds(&p, "a");
    lethe_strbuf_adds(&p, ".");
    refused(&p, "more than 64 dictionaries or lists in one another");
    lethe_strbuf_clear(&p);
    lethe_strbuf_add(&p, "]q\0h\0a.", 7); /* a list that is its own item */
    refused(&p, "more than 64 dictionaries or lists in one another");
    lethe_strbuf_free(&p);
}

/* Each list holds the one before ten times: 10^20 values of 400 bytes. */
static void laughs(void **state) {
    (void)state;
    lethe_strbuf p = {0};
    lethe_strbuf_adds(&p, "K\x01");
    for (int i = 0; i < 20; i++) {
        lethe_strbuf_add(&p,
                         "q\0"
                         "0(",
                         4);
        for (int k = 0; k < 10; k++) lethe_strbuf_add(&p, "h\0", 2);
        lethe_strbuf_adds(&p, "l");
    }
    lethe_strbuf_adds(&p, ".");
    refused(&p, "the same values again and again");
    lethe_strbuf_free(&p);
}

/* A list of 10,000, copied 10,000 times over by calls of five bytes. */
static void copies(void **state) {
    (void)state;
    lethe_strbuf p = {0};
    py_name(&p, "builtins", "set");
    lethe_strbuf_add(&p, "q\0(", 3);
    for (int i = 0; i < 10000; i++) lethe_strbuf_adds(&p, "N");
    lethe_strbuf_adds(&p, "l\x85q\x01");
    for (int i = 0; i < 10000; i++) lethe_strbuf_add(&p, "h\0h\1R", 5);
    lethe_strbuf_adds(&p, ".");
    refused(&p, "makes copies of");
    lethe_strbuf_free(&p);
}

/* One tensor under a long name, many times: names are copies too. */
static void names(void **state) {
    (void)state;
    char key[5001];
    memset(key, 'k', sizeof key - 1);
    key[sizeof key - 1] = '\0';
    lethe_strbuf p = {0};
    lethe_strbuf_adds(&p, "}");
    py_text(&p, key);
    lethe_strbuf_adds(&p, "](");
    py_tensor(&p, &(py_view){"FloatStorage", "0", 24, 0, 1, {24}, {1}});
    lethe_strbuf_add(&p, "q\0", 2);
    for (int i = 0; i < 10000; i++) lethe_strbuf_add(&p, "h\0", 2);
    lethe_strbuf_adds(&p, "es.");
    refused(&p, "the same values again and again");
    lethe_strbuf_free(&p);
}

/* ---- wholes --------------------------------------------------------------------------------- */

static void rich(lethe_strbuf *p) {
    lethe_strbuf_adds(p, "\x80\x02}(");
    py_text(p, "W");
    py_tensor(p, &(py_view){"FloatStorage", "0", 24, 0, 2, {4, 6}, {6, 1}});
    py_text(p, "turned");
    py_tensor(p, &(py_view){"FloatStorage", "0", 24, 0, 2, {6, 4}, {1, 6}});
    py_text(p, "args");
    py_name(p, "argparse", "Namespace");
    lethe_strbuf_adds(p, ")\x81}(");
    py_text(p, "k");
    py_int(p, 32);
    py_text(p, "name");
    py_text(p, "a name");
    lethe_strbuf_adds(p, "ub");
    py_text(p, "list");
    lethe_strbuf_adds(p, "](K\x01K\x02");
    py_tensor(p, &(py_view){"FloatStorage", "0", 24, 5, 0, {0}, {0}});
    lethe_strbuf_adds(p, "eu.");
}

/* Cut anywhere it is refused, with an end put there too: nothing crashes. */
static void cut_anywhere(void **state) {
    (void)state;
    lethe_strbuf p = {0};
    rich(&p);
    for (size_t n = 0; n < p.len; n++) {
        lethe_err err = {0};
        lethe_pickle *pickle = NULL;
        char *cut = malloc(n + 1);
        assert_non_null(cut);
        memcpy(cut, p.data, n);
        cut[n] = '.';
        assert_int_equal(lethe_pickle_open(&pickle, "a.pt", cut, n, &err), LETHE_FORMAT);
        assert_non_null(strstr(err.text, "cut off"));
        if (!lethe_pickle_open(&pickle, "a.pt", cut, n + 1, &err)) lethe_pickle_close(&pickle);
        free(cut);
    }
    lethe_strbuf_free(&p);
}

static void out_of_memory(void **state) {
    (void)state;
    lethe_strbuf p = {0};
    rich(&p);
    const char *path = checkpoint(p.data, p.len);
    lethe_status st = LETHE_NOMEM;
    size_t k = 0;
    for (; st == LETHE_NOMEM && k < 10000; k++) {
        lethe_err err = {0};
        lethe_bundle *b = NULL;
        lethe_mem_fail_after(k);
        st = lethe_bundle_open(&b, path, &err);
        lethe_mem_fail_after(SIZE_MAX);
        if (st == LETHE_NOMEM) assert_null(b);
        lethe_bundle_close(&b);
    }
    assert_int_equal(st, LETHE_OK);
    assert_true(k > 20);
    lethe_strbuf_free(&p);
}

int main(void) {
    dir = test_temp_dir();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_pythons),
        cmocka_unit_test(others_are_refused),
        cmocka_unit_test(deep),
        cmocka_unit_test(laughs),
        cmocka_unit_test(copies),
        cmocka_unit_test(names),
        cmocka_unit_test(cut_anywhere),
        cmocka_unit_test(out_of_memory),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    test_temp_remove();
    return failed;
}
