//! Replays what the fuzzer has kept.

use std::path::Path;

fn replay(target: &str, run: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(target);
    let mut count = 0;
    for entry in std::fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        run(&std::fs::read(path).unwrap());
        count += 1;
    }
    assert!(count > 0, "the corpus of {target} is empty");
}

#[test]
fn cron_parse() {
    replay("cron_parse", jobber_fuzz::cron_parse);
}

#[test]
fn record_decode() {
    replay("record_decode", jobber_fuzz::record_decode);
}

#[test]
fn record_restore() {
    replay("record_restore", jobber_fuzz::record_restore);
}

#[test]
fn scheduler_model() {
    replay("scheduler_model", jobber_fuzz::scheduler_model);
}

#[test]
fn timer_queue_model() {
    replay("timer_queue_model", jobber_fuzz::timer_queue_model);
}

#[test]
fn zone_file() {
    replay("zone_file", jobber_fuzz::zone_file);
}
