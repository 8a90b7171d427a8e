/* The layout promise of ABI 1 on 64-bit machines: compiled as C11, C17 and C++17.  A line here never
 * changes; members appended later get a line of their own below the struct's last one. */
#include <hyprxa/helpers.h>
#include <hyprxa/plugin.h>

#ifdef __cplusplus
#define SAME(claim) static_assert(claim, #claim)
#else
#define SAME(claim) _Static_assert(claim, #claim)
#endif
#define SIZE(type, bytes)          SAME(sizeof(struct type) == (bytes))
#define OFFSET(type, member, byte) SAME(offsetof(struct type, member) == (byte))

#if UINTPTR_MAX == UINT64_MAX

SIZE(hyprxa_error, 256);
OFFSET(hyprxa_error, size, 0);
OFFSET(hyprxa_error, code, 4);
OFFSET(hyprxa_error, message, 8);

SIZE(hyprxa_value, 16);
OFFSET(hyprxa_value, type, 0);
OFFSET(hyprxa_value, len, 4);
OFFSET(hyprxa_value, as, 8);

SIZE(hyprxa_sample, 32);
OFFSET(hyprxa_sample, time_us, 0);
OFFSET(hyprxa_sample, value, 8);
OFFSET(hyprxa_sample, quality, 24);
OFFSET(hyprxa_sample, source_code, 28);

SIZE(hyprxa_subscription, 32);
OFFSET(hyprxa_subscription, size, 0);
OFFSET(hyprxa_subscription, json_len, 4);
OFFSET(hyprxa_subscription, json, 8);
OFFSET(hyprxa_subscription, id, 16);
OFFSET(hyprxa_subscription, last_time_us, 24);

SIZE(hyprxa_batch, 24);
OFFSET(hyprxa_batch, subscription, 0);
OFFSET(hyprxa_batch, samples, 8);
OFFSET(hyprxa_batch, n, 16);

SIZE(hyprxa_ctx, 32);
OFFSET(hyprxa_ctx, size, 0);
OFFSET(hyprxa_ctx, options_len, 4);
OFFSET(hyprxa_ctx, host, 8);
OFFSET(hyprxa_ctx, source, 16);
OFFSET(hyprxa_ctx, options, 24);

SIZE(hyprxa_link, 24);
OFFSET(hyprxa_link, size, 0);
OFFSET(hyprxa_link, number, 4);
OFFSET(hyprxa_link, host, 8);
OFFSET(hyprxa_link, ctx, 16);

SIZE(hyprxa_host, 112);
OFFSET(hyprxa_host, size, 0);
OFFSET(hyprxa_host, abi_minor, 4);
OFFSET(hyprxa_host, log, 8);
OFFSET(hyprxa_host, connect, 16);
OFFSET(hyprxa_host, disconnect, 24);
OFFSET(hyprxa_host, attach, 32);
OFFSET(hyprxa_host, detach, 40);
OFFSET(hyprxa_host, publish, 48);
OFFSET(hyprxa_host, publish_history, 56);
OFFSET(hyprxa_host, state_get, 64);
OFFSET(hyprxa_host, state_set, 72);
OFFSET(hyprxa_host, set_online, 80);
OFFSET(hyprxa_host, drop, 88);
OFFSET(hyprxa_host, wait, 96);
OFFSET(hyprxa_host, stop_fd, 104);

SIZE(hyprxa_base_connection, 64);
OFFSET(hyprxa_base_connection, size, 0);
OFFSET(hyprxa_base_connection, run, 8);
OFFSET(hyprxa_base_connection, destroy, 16);
OFFSET(hyprxa_base_connection, create, 24);
OFFSET(hyprxa_base_connection, start, 32);
OFFSET(hyprxa_base_connection, stop, 40);
OFFSET(hyprxa_base_connection, add, 48);
OFFSET(hyprxa_base_connection, remove, 56);

SIZE(hyprxa_base_integration, 80);
OFFSET(hyprxa_base_integration, size, 0);
OFFSET(hyprxa_base_integration, create, 8);
OFFSET(hyprxa_base_integration, subscribe, 16);
OFFSET(hyprxa_base_integration, subscribe_undone, 24);
OFFSET(hyprxa_base_integration, unsubscribe, 32);
OFFSET(hyprxa_base_integration, capacity, 40);
OFFSET(hyprxa_base_integration, close, 48);
OFFSET(hyprxa_base_integration, destroy, 56);
OFFSET(hyprxa_base_integration, info, 64);
OFFSET(hyprxa_base_integration, list, 72);

SIZE(hyprxa_plugin, 112);
OFFSET(hyprxa_plugin, size, 0);
OFFSET(hyprxa_plugin, abi_major, 4);
OFFSET(hyprxa_plugin, abi_minor, 8);
OFFSET(hyprxa_plugin, flags, 12);
OFFSET(hyprxa_plugin, name, 16);
OFFSET(hyprxa_plugin, version, 24);
OFFSET(hyprxa_plugin, description, 32);
OFFSET(hyprxa_plugin, subscription_schema, 40);
OFFSET(hyprxa_plugin, options_schema, 48);
OFFSET(hyprxa_plugin, scopes, 56);
OFFSET(hyprxa_plugin, integration, 64);
OFFSET(hyprxa_plugin, connection, 72);
OFFSET(hyprxa_plugin, max_subscriptions_per_connection, 80);
OFFSET(hyprxa_plugin, max_connections, 84);
OFFSET(hyprxa_plugin, init, 88);
OFFSET(hyprxa_plugin, deinit, 96);
OFFSET(hyprxa_plugin, extension, 104);

#endif

/* What plugins have compiled in as plain numbers. */
SAME(HYPRXA_ABI_MAJOR == 1);
SAME(HYPRXA_E_INVALID == -1 && HYPRXA_E_NOMEM == -2 && HYPRXA_E_AGAIN == -3);
SAME(HYPRXA_E_CANCELED == -4 && HYPRXA_E_CAPACITY == -5 && HYPRXA_E_ORDER == -6);
SAME(HYPRXA_E_OFFLINE == -7 && HYPRXA_E_SOURCE == -8 && HYPRXA_E_NOT_FOUND == -9);
SAME(HYPRXA_E_UNSUPPORTED == -10);
SAME(HYPRXA_NULL == 0 && HYPRXA_BOOL == 1 && HYPRXA_INT64 == 2 && HYPRXA_DOUBLE == 3);
SAME(HYPRXA_STRING == 4 && HYPRXA_BYTES == 5 && HYPRXA_JSON == 6);
SAME(HYPRXA_GOOD == 0 && HYPRXA_UNCERTAIN == 1 && HYPRXA_BAD == 2);
SAME(HYPRXA_LOG_DEBUG == 0 && HYPRXA_LOG_INFO == 1 && HYPRXA_LOG_WARNING == 2);
SAME(HYPRXA_LOG_ERROR == 3);
SAME(HYPRXA_PLUGIN_SCOPES_ANY == 1u && HYPRXA_PLUGIN_UNLOADABLE == 2u);
SAME(HYPRXA_PLUGIN_EXCLUSIVE == 4u);

int main(void)
{
    return 0;
}
