#include "broker/rabbitmq_link.h"

#include "base/log.h"
#include "base/thread.h"

#include <amqp_framing.h>
#include <amqp_ssl_socket.h>
#include <amqp_tcp_socket.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    CONNECT_TIMEOUT_S = 5,
    CALL_TIMEOUT_S = 10,
    HEARTBEAT_S = 60,
    HEARTBEAT_MAX_S = 3600,
    FRAME_MAX = 131072,
};

/* Debian's bundle, where the URI names none. */
#define SYSTEM_CA_FILE "/etc/ssl/certs/ca-certificates.crt"

static const char logger[] = "hyprxa.broker";

/* --- the URI --- */

static int parse_option(struct rabbitmq_uri *uri, const char *name, const char *value,
                        struct error *err)
{
    if (strcmp(name, "heartbeat") == 0) {
        char *end = NULL;
        long seconds = strtol(value, &end, 10);
        if (end == value || *end || seconds < 1 || seconds > HEARTBEAT_MAX_S)
            return error_set(err, ERR_INVALID, "the broker's 'heartbeat' is 1 to %d seconds",
                             HEARTBEAT_MAX_S);
        uri->heartbeat_s = (int)seconds;
    } else if (strcmp(name, "cafile") == 0) {
        uri->ca_file = value;
    } else if (strcmp(name, "certfile") == 0) {
        uri->cert_file = value;
    } else if (strcmp(name, "keyfile") == 0) {
        uri->key_file = value;
    } else if (strcmp(name, "no_verify_ssl") == 0) {
        bool yes = strcmp(value, "1") == 0 || strcmp(value, "true") == 0;
        if (!yes && strcmp(value, "0") != 0 && strcmp(value, "false") != 0)
            return error_set(err, ERR_INVALID, "the broker's 'no_verify_ssl' is 0 or 1");
        uri->verify = !yes;
    } else {
        return error_set(err, ERR_INVALID, "the broker's URI has an unknown option '%s'", name);
    }
    return 0;
}

static int parse_options(struct rabbitmq_uri *uri, struct error *err)
{
    int rc = 0;
    char *rest = uri->query;
    for (char *pair; !rc && (pair = strsep(&rest, "&"));) {
        char *value = strchr(pair, '=');
        if (!*pair)
            continue;
        if (value)
            *value++ = '\0';
        rc = parse_option(uri, pair, value ? value : "", err);
    }
    if (!rc && !uri->cert_file != !uri->key_file)
        rc = error_set(err, ERR_INVALID, "the broker's 'certfile' and 'keyfile' go together");
    return rc;
}

int rabbitmq_uri_parse(const char *text, struct rabbitmq_uri *ret, struct error *err)
{
    struct rabbitmq_uri uri = {.heartbeat_s = HEARTBEAT_S, .verify = true};
    struct amqp_connection_info info;
    uri.text = strdup(text);
    if (!uri.text)
        return error_set(err, ERR_NOMEM, "out of memory");
    uri.query = strchr(uri.text, '?');
    if (uri.query)
        *uri.query++ = '\0';
    int rc = parse_options(&uri, err);
    if (!rc && amqp_parse_url(uri.text, &info) != AMQP_STATUS_OK)
        rc = error_set(err, ERR_INVALID,
                       "the broker's URI is not amqp(s)://user:password@host:port/vhost");
    if (rc) {
        rabbitmq_uri_release(&uri);
        return rc;
    }
    uri.host = info.host;
    uri.user = info.user;
    uri.password = info.password;
    uri.vhost = *info.vhost ? info.vhost : "/";
    uri.port = info.port;
    uri.tls = info.ssl;
    *ret = uri;
    return 0;
}

void rabbitmq_uri_release(struct rabbitmq_uri *uri)
{
    free(uri->text);
    *uri = (struct rabbitmq_uri){0};
}

/* --- errors --- */

int link_status(int status, const char *what, struct error *err)
{
    if (status == AMQP_STATUS_OK)
        return 0;
    return error_set(err, ERR_UNAVAILABLE, "%s: %s", what, amqp_error_string2(status));
}

/* The text of connection.close or channel.close. */
static int closed_by_server(amqp_method_number_t id, void *decoded, const char *what,
                            struct error *err)
{
    amqp_bytes_t text = amqp_cstring_bytes("closed");
    int code = 0;
    if (id == AMQP_CONNECTION_CLOSE_METHOD) {
        const amqp_connection_close_t *m = decoded;
        text = m->reply_text;
        code = m->reply_code;
    } else if (id == AMQP_CHANNEL_CLOSE_METHOD) {
        const amqp_channel_close_t *m = decoded;
        text = m->reply_text;
        code = m->reply_code;
    }
    return error_set(err, ERR_UNAVAILABLE, "%s: the server says %d %.*s", what, code, (int)text.len,
                     (const char *)text.bytes);
}

static int check_reply(amqp_rpc_reply_t reply, const char *what, struct error *err)
{
    switch (reply.reply_type) {
    case AMQP_RESPONSE_NORMAL:
        return 0;
    case AMQP_RESPONSE_LIBRARY_EXCEPTION:
        return link_status(reply.library_error, what, err);
    case AMQP_RESPONSE_SERVER_EXCEPTION:
        return closed_by_server(reply.reply.id, reply.reply.decoded, what, err);
    default:
        return error_set(err, ERR_UNAVAILABLE, "%s: no answer", what);
    }
}

int link_check(struct link *l, const char *what, struct error *err)
{
    return check_reply(amqp_get_rpc_reply(l->conn), what, err);
}

int link_unexpected(struct link *l, const amqp_frame_t *frame, struct error *err)
{
    if (frame->frame_type != AMQP_FRAME_METHOD)
        return error_set(err, ERR_UNAVAILABLE, "the server sent a frame out of place");
    switch (frame->payload.method.id) {
    case AMQP_CONNECTION_BLOCKED_METHOD:
    case AMQP_CONNECTION_UNBLOCKED_METHOD:
        return 0;
    case AMQP_BASIC_CANCEL_METHOD:
        return error_set(err, ERR_UNAVAILABLE, "the server deleted the queue");
    default:
        return closed_by_server(frame->payload.method.id, frame->payload.method.decoded, l->name,
                                err);
    }
}

/* --- life --- */

int link_init(struct link *l, const struct rabbitmq_uri *uri, const char *name, int64_t initial_ms,
              int64_t max_ms, struct error *err)
{
    *l = (struct link){.uri = uri, .name = name, .fd = -1};
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->wake_fd < 0)
        return error_set_errno(err, errno, "cannot make an eventfd");
    lock_init(&l->lock);
    backoff_init(&l->backoff, initial_ms, max_ms);
    return 0;
}

void link_release(struct link *l)
{
    link_close(l);
    close(l->wake_fd);
    pthread_mutex_destroy(&l->lock);
}

static const char *ca_file(const struct rabbitmq_uri *u)
{
    return u->ca_file ? u->ca_file : SYSTEM_CA_FILE;
}

static int set_certificates(amqp_socket_t *s, const struct rabbitmq_uri *u, struct error *err)
{
    if (u->verify && amqp_ssl_socket_set_cacert(s, ca_file(u)) != AMQP_STATUS_OK)
        return error_set(err, ERR_UNAVAILABLE, "cannot read the authorities of 'cafile', '%s'",
                         ca_file(u));
    if (u->cert_file && amqp_ssl_socket_set_key(s, u->cert_file, u->key_file) != AMQP_STATUS_OK)
        return error_set(err, ERR_UNAVAILABLE, "cannot read 'certfile', '%s', with 'keyfile', '%s'",
                         u->cert_file, u->key_file);
    return 0;
}

/* What the library's words leave open. */
static int check_connected(const struct rabbitmq_uri *u, int status, struct error *err)
{
    if (status == AMQP_STATUS_SSL_PEER_VERIFY_FAILED)
        return error_set(err, ERR_UNAVAILABLE,
                         "no authority of 'cafile', '%s', vouches for the server's certificate",
                         ca_file(u));
    if (status == AMQP_STATUS_SSL_HOSTNAME_VERIFY_FAILED)
        return error_set(err, ERR_UNAVAILABLE, "the server's certificate is not of the host '%s'",
                         u->host);
    return link_status(status, "connecting", err);
}

/* A socket of the library, connected; the connection owns it. */
static int open_socket(struct link *l, amqp_connection_state_t conn, struct error *err)
{
    const struct rabbitmq_uri *u = l->uri;
    amqp_socket_t *s = u->tls ? amqp_ssl_socket_new(conn) : amqp_tcp_socket_new(conn);
    if (!s)
        return error_set(err, ERR_NOMEM, "out of memory for a connection");
    if (u->tls) {
        amqp_ssl_socket_set_verify_peer(s, u->verify);
        amqp_ssl_socket_set_verify_hostname(s, u->verify);
        int rc = set_certificates(s, u, err);
        if (rc)
            return rc;
    }
    struct timeval timeout = {.tv_sec = CONNECT_TIMEOUT_S};
    return check_connected(u, amqp_socket_open_noblock(s, u->host, u->port, &timeout), err);
}

static int log_in(const struct rabbitmq_uri *u, amqp_connection_state_t conn, struct error *err)
{
    struct timeval timeout = {.tv_sec = CALL_TIMEOUT_S};
    amqp_set_handshake_timeout(conn, &timeout);
    amqp_set_rpc_timeout(conn, &timeout);
    int rc = check_reply(amqp_login(conn, u->vhost, 0, FRAME_MAX, u->heartbeat_s,
                                    AMQP_SASL_METHOD_PLAIN, u->user, u->password),
                         "logging in", err);
    if (rc)
        return rc;
    amqp_channel_open(conn, LINK_CHANNEL);
    return check_reply(amqp_get_rpc_reply(conn), "opening a channel", err);
}

/* Let link_interrupt() reach the socket; ERR_CLOSED: it has been called already. */
static int publish_fd(struct link *l, int fd)
{
    pthread_mutex_lock(&l->lock);
    int rc = l->interrupted ? ERR_CLOSED : 0;
    l->fd = fd;
    pthread_mutex_unlock(&l->lock);
    return rc;
}

int link_open(struct link *l, struct error *err)
{
    amqp_connection_state_t conn = amqp_new_connection();
    if (!conn)
        return error_set(err, ERR_NOMEM, "out of memory for a connection");
    int rc = open_socket(l, conn, err);
    if (!rc && publish_fd(l, amqp_get_sockfd(conn)))
        rc = error_set(err, ERR_CLOSED, "the broker was stopped");
    if (!rc)
        rc = log_in(l->uri, conn, err);
    if (rc) {
        publish_fd(l, -1);
        amqp_destroy_connection(conn);
        return rc;
    }
    l->conn = conn;
    return 0;
}

void link_ready(struct link *l)
{
    backoff_reset(&l->backoff);
    if (l->reported)
        log_warning(logger, "%s: RabbitMQ is back", l->name);
    l->reported = false;
}

void link_close(struct link *l)
{
    if (!l->conn)
        return;
    publish_fd(l, -1);
    /* No goodbye: the socket may be dead, and the server ends an exclusive queue all the same. */
    amqp_destroy_connection(l->conn);
    l->conn = NULL;
}

void link_failed(struct link *l, const struct error *err)
{
    link_close(l);
    if (!l->reported && err->code != ERR_CLOSED) {
        log_warning(logger, "%s: RabbitMQ at %s:%d: %s; trying again", l->name, l->uri->host,
                    l->uri->port, err->message);
        l->reported = true;
    }
    link_wait_ms(l, backoff_next_ms(&l->backoff));
}

/* --- waiting --- */

void link_wait_ms(struct link *l, int64_t timeout_ms)
{
    struct pollfd fds[] = {{.fd = l->wake_fd, .events = POLLIN},
                           {.fd = l->conn ? amqp_get_sockfd(l->conn) : -1, .events = POLLIN}};
    if (l->conn && (amqp_frames_enqueued(l->conn) || amqp_data_in_buffer(l->conn)))
        timeout_ms = 0;
    poll(fds, 2, (int)timeout_ms);
    uint64_t count;
    if (fds[0].revents && read(l->wake_fd, &count, sizeof count) < 0 && errno != EAGAIN)
        log_error(logger, "%s: an eventfd cannot be read: %s", l->name, strerror(errno));
}

void link_wait(struct link *l)
{
    link_wait_ms(l, (int64_t)l->uri->heartbeat_s * 1000 / 2);
}

void link_wake(struct link *l)
{
    uint64_t one = 1;
    ssize_t n = write(l->wake_fd, &one, sizeof one);
    (void)n; /* full: it is awake */
}

void link_interrupt(struct link *l)
{
    pthread_mutex_lock(&l->lock);
    l->interrupted = true;
    if (l->fd >= 0)
        shutdown(l->fd, SHUT_RDWR);
    pthread_mutex_unlock(&l->lock);
    link_wake(l);
}
