//! The Rust Walrus, set up as its README and its own benchmarks do.

use walrus_rust::FsyncSchedule;

/// Its FD backend, the default, which the README recommends; batches then go through io_uring.
pub fn choose_backend() {
    walrus_rust::enable_fd_backend();
    // Otherwise it prints a line for much of what it does; the README calls this noise control.
    std::env::set_var("WALRUS_QUIET", "1");
}

/// Its own schedules; 200 ms is its default.
pub fn schedule(durability: &str) -> FsyncSchedule {
    match durability {
        "none" => FsyncSchedule::NoFsync,
        "interval" => FsyncSchedule::Milliseconds(200),
        _ => FsyncSchedule::SyncEach,
    }
}

pub const PERSIST_EVERY: u32 = 1000;

// It has no retention by size (a file goes when all of it has been read), so that long runs end at the harness's limit
// of bytes.
