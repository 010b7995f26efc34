/* SPDX-License-Identifier: MIT
 *
 * Measures as JSON: the list for eval.json, and their items one a line.
 */
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "format/jsonio.h"
#include "stage/measure.h"

static json_t *text(const char *s) {
    return s ? lethe_json_text(s, strlen(s)) : json_null();
}

json_t *lethe_interval_json(const lethe_interval *i, bool *ok) {
    json_t *o = json_object();
    lethe_json_put(o, "mean", lethe_json_real(i->mean), ok);
    lethe_json_put(o, "low", lethe_json_real(i->low), ok);
    lethe_json_put(o, "high", lethe_json_real(i->high), ok);
    return o;
}

static json_t *measure_json(const lethe_measure *m, bool has_ablation, bool *ok) {
    static const char *const groups[] = {"forget", "retain", "attack"};
    json_t *o = json_object();
    lethe_json_put(o, "group", text(groups[m->group]), ok);
    lethe_json_put(o, "name", text(m->name), ok);
    lethe_json_put(o, "title", text(m->title), ok);
    lethe_json_put(o, "domain", text(m->domain), ok);
    lethe_json_put(o, "unit", text(m->unit), ok);
    lethe_json_put(o, "n", json_integer((json_int_t)m->n), ok);
    lethe_json_put(o, "facts", json_integer((json_int_t)m->facts), ok);
    lethe_json_put(o, "forgetting", text(m->rises ? "higher" : "lower"), ok);
    lethe_json_put(o, "baseline", lethe_interval_json(&m->side[LETHE_BASELINE], ok), ok);
    lethe_json_put(o, "ablated",
                   has_ablation ? lethe_interval_json(&m->side[LETHE_ABLATED], ok) : json_null(),
                   ok);
    lethe_json_put(o, "difference",
                   has_ablation ? lethe_interval_json(&m->difference, ok) : json_null(), ok);
    return o;
}

json_t *lethe_measures_json(const lethe_measures *m, bool has_ablation, bool *ok) {
    json_t *list = json_array();
    for (size_t i = 0; i < m->n; i++)
        lethe_json_append(list, measure_json(&m->item[i], has_ablation, ok), ok);
    return list;
}

static json_t *side_json(const lethe_measure_item *item, lethe_eval_side side, bool *ok) {
    json_t *o = json_object();
    lethe_json_put(o, "value", lethe_json_real(item->value[side]), ok);
    if (item->more[side] && json_object_update(o, item->more[side])) *ok = false;
    return o;
}

static json_t *item_json(const lethe_measure *m, size_t i, bool has_ablation, bool *ok) {
    const lethe_measure_item *item = &m->item[i];
    json_t *o = json_object();
    lethe_json_put(o, "measure", text(m->name), ok);
    lethe_json_put(o, "domain", text(m->domain), ok);
    lethe_json_put(o, "item", json_integer((json_int_t)i), ok);
    lethe_json_put(o, "prompt", text(item->prompt), ok);
    lethe_json_put(o, "target", text(item->target), ok);
    if (item->fact) lethe_json_put(o, "fact", text(item->fact), ok);
    if (item->weight != 1) lethe_json_put(o, "weight", lethe_json_real(item->weight), ok);
    lethe_json_put(o, "baseline", side_json(item, LETHE_BASELINE, ok), ok);
    if (has_ablation) lethe_json_put(o, "ablated", side_json(item, LETHE_ABLATED, ok), ok);
    return o;
}

static int put_chunk(const char *buffer, size_t size, void *writer) {
    lethe_writer_put(writer, buffer, size);
    return 0;
}

lethe_status lethe_measures_save(const lethe_measures *m, bool has_ablation, const char *path,
                                 lethe_err *err) {
    lethe_writer *w = NULL;
    LETHE_TRY(lethe_writer_open(&w, path, err));
    bool ok = true;
    for (size_t i = 0; i < m->n && ok; i++)
        for (size_t j = 0; j < m->item[i].n && ok; j++) {
            json_t *o = item_json(&m->item[i], j, has_ablation, &ok);
            ok = ok && !json_dump_callback(o, put_chunk, w, JSON_COMPACT);
            lethe_writer_put(w, "\n", 1);
            json_decref(o);
        }
    if (ok) return lethe_writer_commit(&w, err);
    lethe_writer_abort(&w);
    return lethe_fail(err, LETHE_NOMEM, "out of memory: items of the evaluation");
}
