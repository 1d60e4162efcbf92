//! What a driver is asked to do and what it measures: the same as rivals/job.py.

use std::fs;
use std::time::Duration;

pub struct Job {
    pub kind: String,
    pub dir: String,
    pub durability: String,
    pub mode: String,
    pub end: String,
    pub threads: usize,
    pub topics: usize,
    pub min: usize,
    pub max: usize,
    pub batch: usize,
    pub stride: usize,
    pub entries: u64,
    pub max_bytes: u64,
    pub call_bytes: usize,
    pub seconds: f64,
}

impl Job {
    pub fn parse() -> Job {
        let mut job = Job {
            kind: String::new(),
            dir: String::new(),
            durability: "none".into(),
            mode: String::new(),
            end: "close".into(),
            threads: 1,
            topics: 1,
            min: 100,
            max: 100,
            batch: 1,
            stride: 1,
            entries: 0,
            max_bytes: 0,
            call_bytes: 1 << 20,
            seconds: 1.0,
        };
        for word in std::env::args().skip(1) {
            let (key, text) = word.split_once('=').expect("arguments are key=value");
            job.take(key, text);
        }
        job
    }

    fn take(&mut self, key: &str, text: &str) {
        let number = || text.parse().expect("a whole number");
        match key {
            "kind" => self.kind = text.into(),
            "dir" => self.dir = text.into(),
            "durability" => self.durability = text.into(),
            "mode" => self.mode = text.into(),
            "end" => self.end = text.into(),
            "threads" => self.threads = number(),
            "topics" => self.topics = number(),
            "min" => self.min = number(),
            "max" => self.max = number(),
            "batch" => self.batch = number(),
            "stride" => self.stride = number(),
            "entries" => self.entries = number() as u64,
            "max_bytes" => self.max_bytes = number() as u64,
            "call_bytes" => self.call_bytes = number(),
            "seconds" => self.seconds = text.parse().expect("seconds"),
            "retention" | "hot" => {} // it has neither retention by size nor a second reading of the same topic
            _ => panic!("a driver knows no argument {key}"),
        }
    }
}

/// The payloads, made beforehand: taken in turn.
pub fn make_pool(job: &Job) -> Vec<Vec<u8>> {
    let mut state = 1768u64;
    let mut random = || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = state;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    };
    let count = ((16 << 20) / job.max).clamp(64, 16_000);
    (0..count)
        .map(|_| {
            let size = job.min + random() as usize % (job.max - job.min + 1);
            (0..size).map(|_| random() as u8).collect()
        })
        .collect()
}

const SUB_BITS: u32 = 5;

/// Latencies in buckets of 3 %.
pub struct Histogram(Vec<u64>);

impl Histogram {
    pub fn new() -> Histogram {
        Histogram(vec![0; 64 << SUB_BITS])
    }

    pub fn add(&mut self, duration: Duration) {
        let ns = duration.as_nanos() as u64;
        let shift = (63 - (ns | 1).leading_zeros()).saturating_sub(SUB_BITS);
        self.0[((shift as usize) << SUB_BITS) + (ns >> shift) as usize] += 1;
    }

    pub fn merge(&mut self, other: &Histogram) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }

    pub fn json(&self) -> String {
        let total: u64 = self.0.iter().sum();
        if total == 0 {
            return "{}".into();
        }
        let mut wanted =
            [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999), ("max", 1.0)].iter().peekable();
        let (mut seen, mut text) = (0, format!("{{\"samples\":{total}"));
        for (index, count) in self.0.iter().enumerate() {
            seen += count;
            while let Some((name, _)) = wanted.next_if(|(_, share)| seen as f64 >= share * total as f64) {
                text += &format!(",\"{name}\":{}", upper_end(index));
            }
        }
        text + "}"
    }
}

fn upper_end(index: usize) -> u64 {
    let shift = (index >> SUB_BITS).saturating_sub(1);
    if shift == 0 {
        index as u64
    } else {
        ((index - (shift << SUB_BITS) + 1) as u64) << shift
    }
}

/// The most memory that was resident since this was made, and what was before.
pub struct Memory {
    baseline: u64,
}

impl Memory {
    pub fn new() -> Memory {
        let _ = fs::write("/proc/self/clear_refs", "5"); // 5: the peak begins anew
        Memory { baseline: field("VmRSS:") }
    }

    pub fn json(&self) -> String {
        format!("\"peak_rss\":{},\"baseline_rss\":{}", field("VmHWM:"), self.baseline)
    }
}

fn field(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap_or("");
    line.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Of all threads of this process, user and system; the kernel counts in steps of 10 ms here.
pub fn cpu_seconds() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|text| text.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}
