//! The Rust Walrus by its own API: the same arguments, loops and line of JSON as rivals/driver.py.

mod job;
mod settings;

use job::{cpu_seconds, make_pool, Histogram, Job, Memory};
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};
use walrus_rust::{ReadConsistency, Walrus};

fn open(job: &Job) -> Walrus {
    std::env::set_var("WALRUS_DATA_DIR", &job.dir);
    settings::choose_backend();
    let consistency = match job.mode.as_str() {
        "strict" => ReadConsistency::StrictlyAtOnce,
        _ => ReadConsistency::AtLeastOnce { persist_every: settings::PERSIST_EVERY },
    };
    Walrus::with_consistency_and_schedule(consistency, settings::schedule(&job.durability)).expect("open")
}

/// Stays until the harness sends SIGKILL.
fn wait_if_asked(job: &Job) {
    while job.end == "wait" {
        thread::sleep(Duration::from_secs(1));
    }
}

#[derive(Default)]
#[repr(align(128))]
struct Counters {
    entries: AtomicU64,
    payload: AtomicU64,
}

fn append_work(
    log: &Walrus,
    job: &Job,
    topic: usize,
    share: u64,
    counters: &Counters,
    stop: &AtomicBool,
    pool: &[Vec<u8>],
) -> Histogram {
    // One thread goes round all topics.
    let turns = if job.threads == 1 { job.topics } else { 1 };
    let names: Vec<String> = (topic..topic + turns).map(|number| number.to_string()).collect();
    let mut histogram = Histogram::new();
    let mut at = topic * 1009 % pool.len();
    let mut calls = 0;
    let mut batch: Vec<&[u8]> = Vec::with_capacity(job.batch);
    while !stop.load(Ordering::Relaxed) {
        batch.clear();
        for _ in 0..job.batch {
            batch.push(&pool[at]);
            at = if at + 1 == pool.len() { 0 } else { at + 1 };
        }
        let name = &names[calls % turns];
        let timed = calls % job.stride == 0;
        calls += 1;
        let began = timed.then(Instant::now);
        if job.batch > 1 {
            log.batch_append_for_topic(name, &batch).expect("batch append");
        } else {
            log.append_for_topic(name, batch[0]).expect("append");
        }
        if let Some(began) = began {
            histogram.add(began.elapsed());
        }
        let payload: usize = batch.iter().map(|data| data.len()).sum();
        counters.payload.store(counters.payload.load(Ordering::Relaxed) + payload as u64, Ordering::Relaxed);
        let entries = counters.entries.load(Ordering::Relaxed) + job.batch as u64;
        counters.entries.store(entries, Ordering::Relaxed);
        if share > 0 && entries >= share {
            break;
        }
    }
    histogram
}

fn run_append(job: &Job) {
    let pool = make_pool(job);
    let memory = Memory::new();
    let log = open(job);
    let counters: Vec<Counters> = (0..job.threads).map(|_| Counters::default()).collect();
    let (begin, stop) = (Barrier::new(job.threads + 1), AtomicBool::new(false));
    let share = job.entries.div_ceil(job.threads as u64);
    let total =
        |field: fn(&Counters) -> &AtomicU64| counters.iter().map(|one| field(one).load(Ordering::Relaxed)).sum::<u64>();
    let mut all = Histogram::new();
    let mut series = Vec::new();
    let (mut took, mut cpu) = (0.0, 0.0);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..job.threads)
            .map(|number| {
                let (log, pool, mine, begin, stop) = (&log, &pool, &counters[number], &begin, &stop);
                scope.spawn(move || {
                    begin.wait();
                    append_work(log, job, number % job.topics, share, mine, stop, pool)
                })
            })
            .collect();
        begin.wait();
        let (began, cpu_before) = (Instant::now(), cpu_seconds());
        while !stop.load(Ordering::Relaxed) && !workers.iter().all(|worker| worker.is_finished()) {
            thread::sleep(Duration::from_millis(10));
            let so_far = began.elapsed().as_secs_f64();
            if so_far >= (series.len() + 1) as f64 * 0.5 {
                series.push(format!("[{so_far:.3},{}]", total(|one| &one.entries)));
            }
            let full = job.max_bytes > 0 && total(|one| &one.payload) >= job.max_bytes;
            if full || (job.entries == 0 && so_far >= job.seconds) {
                stop.store(true, Ordering::Relaxed);
            }
        }
        for worker in workers {
            all.merge(&worker.join().expect("a worker"));
        }
        took = began.elapsed().as_secs_f64();
        cpu = cpu_seconds() - cpu_before;
    });
    println!(
        "{{\"entries\":{},\"bytes\":{},\"seconds\":{took:.6},\"cpu_seconds\":{cpu:.3},\
         \"latency_ns\":{},\"series\":[{}],{}}}",
        total(|one| &one.entries),
        total(|one| &one.payload),
        all.json(),
        series.join(","),
        memory.json()
    );
    wait_if_asked(job);
}

/// It has no sync: the counterpart of "one entry in each topic, durable" is SyncEach, which flushes each of them.
fn run_topics(job: &Job) {
    let pool = make_pool(job);
    let memory = Memory::new();
    let log = open(job);
    let names: Vec<String> = (0..job.topics).map(|topic| topic.to_string()).collect();
    let mut turns = Vec::new();
    let (mut began, mut cpu) = (Instant::now(), 0.0);
    let mut turn = 0;
    while turn < 2 || began.elapsed().as_secs_f64() < job.seconds {
        if turn == 1 {
            (began, cpu) = (Instant::now(), cpu_seconds()); // the first turn makes the topics
        }
        let started = Instant::now();
        for (number, name) in names.iter().enumerate() {
            log.append_for_topic(name, &pool[(turn + number) % pool.len()]).expect("append");
        }
        if turn > 0 {
            turns.push(started.elapsed().as_secs_f64());
        }
        turn += 1;
    }
    let took = began.elapsed().as_secs_f64();
    turns.sort_by(f64::total_cmp);
    let entries = turns.len() * job.topics;
    println!(
        "{{\"entries\":{entries},\"bytes\":{},\"seconds\":{took:.6},\"cpu_seconds\":{:.3},\"turns\":{},\
         \"append_seconds_median\":0,\
         \"sync_seconds_median\":{:.9},{}}}",
        entries * job.max,
        cpu_seconds() - cpu,
        turns.len(),
        turns[turns.len() / 2],
        memory.json()
    );
}

fn run_next(job: &Job) {
    let pool = make_pool(job);
    let memory = Memory::new();
    let log = open(job);
    for number in 0..job.entries as usize {
        log.append_for_topic("0", &pool[number % pool.len()]).expect("append");
    }
    let mut histogram = Histogram::new();
    let (mut taken, mut payload) = (0, 0);
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let mut now = began;
    while taken < job.entries && (now - began).as_secs_f64() < job.seconds {
        payload += log.read_next("0", true).expect("read_next").expect("an entry that was appended").data.len();
        let after = Instant::now();
        histogram.add(after - now);
        now = after;
        taken += 1;
    }
    println!(
        "{{\"entries\":{taken},\"bytes\":{payload},\"seconds\":{:.6},\"cpu_seconds\":{:.3},\"latency_ns\":{},{}}}",
        (now - began).as_secs_f64(),
        cpu_seconds() - cpu,
        histogram.json(),
        memory.json()
    );
}

fn run_read(job: &Job) {
    let memory = Memory::new();
    let began = Instant::now();
    let log = open(job);
    let opened = began.elapsed().as_secs_f64();
    let (mut entries, mut payload) = (0, 0);
    let (began, cpu) = (Instant::now(), cpu_seconds());
    while entries < job.entries {
        let batch = log.batch_read_for_topic("0", job.call_bytes, true).expect("batch read");
        if batch.is_empty() {
            break;
        }
        entries += batch.len() as u64;
        payload += batch.iter().map(|entry| entry.data.len()).sum::<usize>();
    }
    let took = began.elapsed().as_secs_f64();
    if entries != job.entries {
        eprintln!("{entries} entries were read, {} were appended", job.entries);
        std::process::exit(1);
    }
    println!(
        "{{\"entries\":{entries},\"bytes\":{payload},\"seconds\":{took:.6},\"cpu_seconds\":{:.3},\
         \"open_seconds\":{opened:.6},{}}}",
        cpu_seconds() - cpu,
        memory.json()
    );
}

fn run_reopen(job: &Job) {
    let memory = Memory::new();
    let (began, cpu) = (Instant::now(), cpu_seconds());
    let log = open(job);
    let opened = began.elapsed().as_secs_f64();
    let mut payload = 0;
    for topic in 0..job.topics {
        let found = log.read_next(&topic.to_string(), false);
        // A batch is being read, or none is there: both are an end of this run.
        payload += match found {
            Ok(Some(entry)) => entry.data.len(),
            Ok(None) => panic!("topic {topic} is empty"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => panic!("topic {topic} is busy"),
            Err(error) => panic!("topic {topic}: {error}"),
        };
    }
    println!(
        "{{\"entries\":{},\"bytes\":{payload},\"seconds\":{:.6},\"open_seconds\":{opened:.6},\
         \"cpu_seconds\":{:.3},{}}}",
        job.topics,
        began.elapsed().as_secs_f64(),
        cpu_seconds() - cpu,
        memory.json()
    );
}

fn main() {
    let job = Job::parse();
    match job.kind.as_str() {
        "append" => run_append(&job),
        "topics" => run_topics(&job),
        "next" => run_next(&job),
        "read" => run_read(&job),
        "reopen" => run_reopen(&job),
        other => panic!("no such kind: {other}"),
    }
}
