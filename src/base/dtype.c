/* SPDX-License-Identifier: MIT */
#include "base/dtype.h"

#include <string.h>

#include "base/strbuf.h"

static const struct {
    const char *name;
    size_t size;
} types[LETHE_DTYPE_COUNT] = {
    [LETHE_F32] = {"F32", 4}, [LETHE_F16] = {"F16", 2},   [LETHE_BF16] = {"BF16", 2},
    [LETHE_F64] = {"F64", 8}, [LETHE_I32] = {"I32", 4},   [LETHE_I64] = {"I64", 8},
    [LETHE_U8] = {"U8", 1},   [LETHE_BOOL] = {"BOOL", 1}, [LETHE_I8] = {"I8", 1},
    [LETHE_I16] = {"I16", 2}, [LETHE_U16] = {"U16", 2},   [LETHE_U32] = {"U32", 4},
    [LETHE_U64] = {"U64", 8},
};

size_t lethe_dtype_size(lethe_dtype t) {
    return types[t].size;
}
const char *lethe_dtype_name(lethe_dtype t) {
    return types[t].name;
}

bool lethe_dtype_from_name(const char *name, lethe_dtype *out) {
    for (int i = 0; i < LETHE_DTYPE_COUNT; i++)
        if (!strcmp(types[i].name, name)) {
            *out = (lethe_dtype)i;
            return true;
        }
    return false;
}

static float f32_of_bits(uint32_t u) {
    float f;
    memcpy(&f, &u, sizeof f);
    return f;
}

static uint32_t bits_of_f32(float f) {
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

float lethe_f32_from_bf16(uint16_t h) {
    return f32_of_bits((uint32_t)h << 16);
}

uint16_t lethe_bf16_from_f32(float f) {
    uint32_t u = bits_of_f32(f);
    if ((u & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((u >> 16) | 0x40u);
    return (uint16_t)((u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}

float lethe_f32_from_f16(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16, e = (h >> 10) & 0x1fu, m = h & 0x3ffu;
    if (e == 31) return f32_of_bits(sign | 0x7f800000u | (m << 13));
    if (e) return f32_of_bits(sign | ((e + 112) << 23) | (m << 13));
    float sub = (float)m * 0x1p-24f; /* subnormal or zero */
    return sign ? -sub : sub;
}

uint16_t lethe_f16_from_f32(float f) {
    uint32_t u = bits_of_f32(f), sign = (u >> 16) & 0x8000u, a = u & 0x7fffffffu;
    if (a > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (a >= 0x477ff000u) return (uint16_t)(sign | 0x7c00u); /* rounds to infinity */
    if (a < 0x38800000u) {                                   /* subnormal: in units of 2^-24 */
        float scaled = f32_of_bits(a) * 0x1p24f;
        uint32_t q = (uint32_t)scaled;
        float rest = scaled - (float)q;
        if (rest > 0.5f || (rest == 0.5f && (q & 1u))) q++;
        return (uint16_t)(sign | q);
    }
    uint32_t r = a + 0xfffu + ((a >> 13) & 1u);
    return (uint16_t)(sign | ((r - 0x38000000u) >> 13));
}

lethe_status lethe_tensor_to_f32(const lethe_tensor *t, size_t first, size_t n, float *out,
                                 lethe_err *err) {
    const unsigned char *p = (const unsigned char *)t->data + first * lethe_dtype_size(t->dtype);
    switch (t->dtype) {
    case LETHE_F32: memcpy(out, p, n * sizeof *out); return LETHE_OK;
    case LETHE_BF16:
    case LETHE_F16:
        for (size_t i = 0; i < n; i++) {
            uint16_t h;
            memcpy(&h, p + 2 * i, 2);
            out[i] = t->dtype == LETHE_F16 ? lethe_f32_from_f16(h) : lethe_f32_from_bf16(h);
        }
        return LETHE_OK;
    case LETHE_F64:
        for (size_t i = 0; i < n; i++) {
            double d;
            memcpy(&d, p + 8 * i, 8);
            out[i] = (float)d;
        }
        return LETHE_OK;
    default:
        return lethe_fail(err, LETHE_FORMAT, "\"%s\": got dtype %s, want floating point", t->name,
                          lethe_dtype_name(t->dtype));
    }
}

lethe_status lethe_tensor_to_i32(const lethe_tensor *t, size_t first, size_t n, int32_t *out,
                                 lethe_err *err) {
    const unsigned char *p = (const unsigned char *)t->data + first * lethe_dtype_size(t->dtype);
    if (t->dtype == LETHE_I32) {
        memcpy(out, p, n * sizeof *out);
        return LETHE_OK;
    }
    if (t->dtype != LETHE_I64)
        return lethe_fail(err, LETHE_FORMAT, "\"%s\": got dtype %s, want I32 or I64", t->name,
                          lethe_dtype_name(t->dtype));
    for (size_t i = 0; i < n; i++) {
        int64_t v;
        memcpy(&v, p + 8 * i, 8);
        if (v < INT32_MIN || v > INT32_MAX)
            return lethe_fail(err, LETHE_FORMAT, "\"%s\": element %zu is out of range", t->name,
                              first + i);
        out[i] = (int32_t)v;
    }
    return LETHE_OK;
}

static void shape_text(lethe_strbuf *b, size_t ndim, const size_t *shape) {
    lethe_strbuf_adds(b, "[");
    for (size_t i = 0; i < ndim; i++)
        lethe_strbuf_addf(b, shape[i] ? "%s%zu" : "%s*", i ? ", " : "", shape[i]);
    lethe_strbuf_adds(b, "]");
}

lethe_status lethe_tensor_want(const lethe_tensor *t, const char *path, const char *name,
                               size_t ndim, const size_t *shape, lethe_err *err) {
    if (!t) return lethe_fail(err, LETHE_FORMAT, "%s: tensor \"%s\" is missing", path, name);
    bool fits = t->ndim == ndim;
    for (size_t i = 0; fits && i < ndim; i++) fits = !shape[i] || shape[i] == t->shape[i];
    if (fits) return LETHE_OK;
    lethe_strbuf got = {0}, want = {0};
    shape_text(&got, t->ndim, t->shape);
    shape_text(&want, ndim, shape);
    lethe_fail(err, LETHE_FORMAT, "%s: \"%s\": got shape %s, want %s", path, name,
               lethe_strbuf_str(&got), lethe_strbuf_str(&want));
    lethe_strbuf_free(&got);
    lethe_strbuf_free(&want);
    return LETHE_FORMAT;
}
