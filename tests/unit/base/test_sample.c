#include "base/sample.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(sample, .timeout = 10);

static bool is_not(void *unwanted, const struct series *s)
{
    return s != unwanted;
}

Test(sample, filtered_blocks_lose_the_runs_of_a_series_and_the_states)
{
    struct series *a = series_new("s", "a", "a", 1), *b = series_new("s", "b", "b", 2);
    struct sample_block *block = sample_block_new(3, 6, 1, 0, NULL);
    block->runs[0] = (struct sample_run){series_ref(a), 0, 1};
    block->runs[1] = (struct sample_run){series_ref(b), 1, 2};
    block->runs[2] = (struct sample_run){series_ref(a), 3, 3};
    cr_expect_eq(sample_block_filter(block, is_not, NULL), 0);
    cr_expect(block->n_runs == 3 && block->n_samples == 6 && block->n_states == 1);
    cr_expect_eq(sample_block_filter(block, is_not, a), 4);
    cr_expect(block->n_runs == 1 && block->n_samples == 2 && block->n_states == 0);
    cr_expect(block->runs[0].series == b && block->runs[0].first == 1 && block->runs[0].n == 2);
    cr_expect_eq(atomic_load(&a->refs), 1, "its references are given back");
    sample_block_unref(block);
    series_unref(a);
    series_unref(b);
}
