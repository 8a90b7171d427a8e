#include "broker/ring.h"

#include "base/error.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(ring, .timeout = 10);

static struct message *of_size(size_t n)
{
    char body[256];
    memset(body, 'x', sizeof body);
    return message_new(NULL, 0, body, n);
}

Test(ring, bytes_are_bounded_and_taking_makes_room)
{
    struct ring ring = {.max = 100, .max_bytes = 100};
    struct message *m = of_size(50);
    struct ring_item item;
    cr_assert_eq(ring_put(&ring, NULL, "k", m), 0);
    cr_assert_eq(ring_put(&ring, NULL, "k", m), 0, "at the limit");
    cr_assert_eq(ring_put(&ring, NULL, "k", m), ERR_AGAIN, "above it");
    cr_assert_eq(ring_take(&ring, &item, 1), 1);
    ring_item_release(&item);
    cr_assert_eq(ring_put(&ring, NULL, "k", m), 0);
    cr_assert_eq(ring_length(&ring), 2);
    ring_release(&ring);
    message_unref(m);
}

Test(ring, message_larger_than_the_bound_is_taken_when_the_queue_is_empty)
{
    struct ring ring = {.max = 100, .max_bytes = 10};
    struct message *m = of_size(200);
    cr_assert_eq(ring_put(&ring, NULL, "k", m), 0);
    cr_assert_eq(ring_put(&ring, NULL, "k", m), ERR_AGAIN);
    ring_release(&ring);
    message_unref(m);
}

Test(ring, messages_are_bounded_where_bytes_are_not)
{
    struct ring ring = {.max = 2};
    struct message *m = of_size(200);
    cr_assert_eq(ring_put(&ring, NULL, "k", m), 0);
    cr_assert_eq(ring_put(&ring, "one node", "k", m), 0);
    cr_assert_eq(ring_put(&ring, NULL, "k", m), ERR_AGAIN);
    struct ring_item items[2];
    cr_assert_eq(ring_take(&ring, items, 2), 2);
    cr_assert_null(items[0].queue);
    cr_assert_str_eq(items[1].queue, "one node");
    ring_item_release(&items[0]);
    ring_item_release(&items[1]);
    ring_release(&ring);
    message_unref(m);
}
