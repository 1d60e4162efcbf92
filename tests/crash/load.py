"""The load of the SIGKILL tests: a child process that appends, batches, consumes and syncs, and tells an oracle of it.

Every operation is told twice through a pipe: what is about to be done (intent), and that it has returned (done). The payload
of an entry follows from its topic and offset alone, so the oracle can check every byte without having been sent any.
"""
import json
import os
import random
import sys

import walrus
from walrus import FsyncSchedule, ReadConsistency

TOPICS = ("alpha", "beta", "gamma/δ", "d" * 40)
SCHEDULES = {
    "none": FsyncSchedule.NoFsync,
    "each": FsyncSchedule.SyncEach,
    "ms": FsyncSchedule.Milliseconds(5),
}


def payload(topic: int, offset: int) -> bytes:
    """Deterministic, of 0 to about 3,000 bytes; one in 97 is 70 kB."""
    seed = (offset * 2654435761 + topic * 40503) & 0xFFFFFFFF
    length = 70_000 if seed % 97 == 0 else seed % 3001 if seed % 5 else seed % 17
    head = f"{topic}:{offset};".encode()
    return (head * (length // len(head) + 1))[:length]


def run(path: str, seed: int, schedule: str, backend: str, consistency: str, out: int) -> None:
    rng = random.Random(seed)

    def tell(*what: object) -> None:
        os.write(out, (json.dumps(what) + "\n").encode())

    mode = ReadConsistency.StrictlyAtOnce if consistency == "strict" else ReadConsistency.AtLeastOnce(persist_every=7)
    with walrus.open(path, fsync_schedule=SCHEDULES[schedule], backend=backend, consistency=mode,
                     staging_bytes=4 << 20, log_file_bytes=4 << 20, timeout=30) as log:
        topics = [log.topic(name) for name in TOPICS]
        cursors = [topic.cursor("worker") for topic in topics]
        tell("open", [topic.end_offset for topic in topics])
        while True:
            i = rng.randrange(len(topics))
            topic, end = topics[i], topics[i].end_offset
            what = rng.random()
            if what < 0.55:
                tell("append", i, end, 1)
                offset = topic.append(payload(i, end))
                tell("done", i, offset, 1)
            elif what < 0.75:
                count = rng.choice((2, 3, 50, 700))
                tell("append", i, end, count)
                first = topic.append_batch([payload(i, end + k) for k in range(count)])
                tell("done", i, first, count)
            elif what < 0.85:
                batch = cursors[i].read_batch(max_entries=rng.choice((1, 10, 300)))
                for offset, data in zip(batch.offsets, batch, strict=True):
                    assert data == payload(i, offset), (i, offset)
                value = cursors[i].position
                tell("commit", i, value)
                cursors[i].commit()
                tell("committed", i, value)
            elif what < 0.95:
                stands = end - log.get_topic_entry_count(TOPICS[i])
                data = log.read_next(TOPICS[i], True)
                if data is not None:
                    assert data == payload(i, stands), (i, stands)
                    tell("consumed", i, stands)
            else:
                log.sync()


if __name__ == "__main__":
    run(sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4], sys.argv[5], int(sys.argv[6]))
