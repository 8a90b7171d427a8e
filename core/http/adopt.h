/* Adoption: taking a connection out of civetweb's hands.
 *
 * civetweb keeps a worker thread per open connection and has no call to give one up.  So a handler
 * finds the connection's descriptor by the names of its two ends, duplicates it, puts a closed
 * socket under civetweb's number and returns: civetweb closes that one, the connection lives on.
 * A self-test at start proves it (adopt_self_test() in http_priv.h). */
#ifndef HYPRXA_HTTP_ADOPT_H
#define HYPRXA_HTTP_ADOPT_H

#include "http/http_priv.h"

/* civetweb's descriptor of the request's connection; -1: it cannot be told for certain, or adoption
 * does not work here.  [worker] */
int adopt_find(struct http_request *r);

/* Duplicate `fd` above the floor.  ERR_LIMIT: no descriptor is free; ERR_UNSUPPORTED: the limit lies
 * below the floor.  [worker] */
int adopt_duplicate(struct http_request *r, int fd, int *ret_fd, struct error *err);

/* Take the connection away from civetweb: the duplicate is the only one left.  After the head was
 * sent.  [worker] */
void adopt_release(struct http_request *r, int fd);

#endif
