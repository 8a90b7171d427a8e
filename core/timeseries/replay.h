/* A stream of samples from where its client left off: by the replay index behind a message, or by time
 * from storage.  For the time of one request. */
#ifndef HYPRXA_TIMESERIES_REPLAY_H
#define HYPRXA_TIMESERIES_REPLAY_H

#include "http/replay.h"
#include "timeseries/replay_index.h"

struct timeseries;
struct sample_replay;

/* `series` are distinct and stay the caller's, until after the close.  Watched by the caller before,
 * so that what is published from now on is made into messages.  [worker] */
int sample_replay_open(struct timeseries *ts, struct series *const *series, size_t n,
                       const struct resume *resume, struct sample_replay **ret, struct error *err);
/* Behind all that was published.  [any] */
struct message_place sample_place(struct timeseries *ts);
const struct stream_replay *sample_replay_stream(const struct sample_replay *sr);
void sample_replay_close(struct sample_replay *sr); /* NULL is fine */

#endif
