#include "timeseries/lttb.h"

#include "base/error.h"
#include "timeseries/aggregate.h"

#include <math.h>
#include <stdlib.h>

int lttb_init(struct lttb *l, size_t n, size_t points)
{
    *l = (struct lttb){.n = n, .points = points};
    l->every = (double)(n - 2) / (double)(points - 2);
    l->averages = calloc(points, sizeof *l->averages);
    l->kept = calloc(points, sizeof *l->kept);
    if (!l->averages || !l->kept) {
        lttb_release(l);
        return ERR_NOMEM;
    }
    lttb_rewind(l);
    return 0;
}

void lttb_release(struct lttb *l)
{
    free(l->averages);
    free(l->kept);
    l->averages = NULL;
    l->kept = NULL;
}

/* Buckets: 0 is the first sample, 1 to points - 2 share what lies between, points - 1 is the last. */
static size_t border_of(const struct lttb *l, size_t bucket)
{
    if (bucket == 0)
        return 1;
    if (bucket >= l->points - 2)
        return bucket == l->points - 2 ? l->n - 1 : SIZE_MAX;
    return (size_t)((double)bucket * l->every) + 1;
}

/* Whether the next sample opens a new bucket. */
static bool step(struct lttb *l)
{
    if (l->at++ < l->border)
        return false;
    l->border = border_of(l, ++l->bucket);
    return true;
}

void lttb_rewind(struct lttb *l)
{
    l->at = l->bucket = 0;
    l->border = border_of(l, 0);
}

void lttb_measure(struct lttb *l, const struct sample *s)
{
    if (l->at == 0)
        l->origin_us = s->time_us;
    step(l);
    if (!sample_has_value(s))
        return;
    struct lttb_average *average = &l->averages[l->bucket];
    average->n++;
    average->x += (double)(s->time_us - l->origin_us);
    average->y += value_number(&s->value);
}

static void keep(struct lttb *l, const struct sample *s)
{
    if (l->n_kept == l->points)
        return;
    struct sample *kept = &l->kept[l->n_kept++];
    *kept = *s;
    if (!sample_has_value(s)) {
        kept->value = (struct value){.type = VALUE_NULL};
        return;
    }
    l->x = (double)(s->time_us - l->origin_us);
    l->y = value_number(&s->value);
}

/* The area of the triangle: the point kept before, this one, the average of the bucket behind. */
static double area_of(const struct lttb *l, const struct sample *s)
{
    size_t next = l->bucket + 1;
    while (next < l->points && l->averages[next].n == 0)
        next++;
    if (next == l->points)
        return 0.0;
    const struct lttb_average *average = &l->averages[next];
    double x = average->x / (double)average->n, y = average->y / (double)average->n;
    double sx = (double)(s->time_us - l->origin_us), sy = value_number(&s->value);
    return fabs((l->x - x) * (sy - l->y) - (l->x - sx) * (y - l->y)) * 0.5;
}

void lttb_select(struct lttb *l, const struct sample *s)
{
    if (step(l)) {
        if (l->any)
            keep(l, &l->candidate);
        l->any = l->has_value = false;
    }
    if (l->bucket == 0) {
        keep(l, s);
        return;
    }
    bool has_value = sample_has_value(s);
    double area = has_value ? area_of(l, s) : -1.0;
    if (!l->any || (has_value && !l->has_value) || (has_value && area > l->area)) {
        l->candidate = *s;
        l->area = area;
        l->any = true;
        l->has_value = has_value;
    }
}

void lttb_finish(struct lttb *l, const struct sample *last)
{
    if (l->any && l->candidate.time_us != last->time_us)
        keep(l, &l->candidate);
    if (l->n_kept == l->points) /* fewer came than said */
        l->n_kept--;
    if (l->n_kept == 0 || l->kept[l->n_kept - 1].time_us != last->time_us)
        keep(l, last);
}
