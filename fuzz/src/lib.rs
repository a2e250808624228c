//! What the fuzz targets do, as plain functions: the fuzzer calls them, and so
//! does the test that replays its corpus.
//!
//! `RUSTC_BOOTSTRAP=1 cargo fuzz run --features fuzzing cron_parse` from the
//! project's root runs one.

mod record_decode;
mod record_restore;
#[allow(dead_code, reason = "a part is for other tests")]
#[path = "../../tests/simulation/mod.rs"]
mod simulation;
// The timer's queue is not public, so this crate includes it by path.
#[allow(dead_code, reason = "a part is for the app")]
#[path = "../../src/timer/mod.rs"]
mod timer;
mod timer_queue_model;
mod zone_file;

use std::cell::OnceCell;

use jobber::{
    Zone,
    cron::{Cron, CronError},
};
use time::OffsetDateTime;

pub use record_decode::record_decode;
pub use record_restore::record_restore;
pub use timer_queue_model::timer_queue_model;
pub use zone_file::zone_file;

/// Reads the text as a cron expression. Nothing panics; what can be read prints,
/// reads again and means the same, and its times are in order; what can't has
/// an error that points at a piece of the text.
///
/// # Panics
/// When any of that does not hold.
pub fn cron_parse(data: &[u8]) {
    thread_local! {
        static BERLIN: OnceCell<Zone> = const { OnceCell::new() };
    }
    let text = String::from_utf8_lossy(data);
    match Cron::parse(&text) {
        Ok(cron) => BERLIN.with(|zone| {
            let berlin = zone.get_or_init(|| Zone::named("Europe/Berlin").expect("it exists"));
            has_meaning(&cron, berlin);
        }),
        Err(error) => points_at_its_fault(&text, &error),
    }
}

/// Takes the bytes for a program of operations over a whole app, and runs it beside
/// a model of what the docs say.
///
/// # Panics
/// When the app does anything else. The text has the program, shrunken.
pub fn scheduler_model(data: &[u8]) {
    let program = simulation::Program::from_bytes(data);
    let Some(fault) = simulation::run(&program).fault else {
        return;
    };
    let small = simulation::shrink(&program, |program| simulation::run(program).fault);
    let verdict = simulation::run(&small);
    panic!("{fault}\n\n{}\n{small}", verdict.history);
}

fn has_meaning(cron: &Cron, berlin: &Zone) {
    let again = Cron::parse(&cron.to_string()).expect("what was read reads again");
    assert!(!cron.describe().is_empty());
    // A day before Berlin's clocks go forward in 2026.
    let start = OffsetDateTime::from_unix_timestamp(1_774_659_600).expect("in range");
    for zone in [&Zone::UTC, berlin] {
        let times: Vec<_> = cron.upcoming(start, zone).take(5).collect();
        assert!(times.first().is_none_or(|first| *first > start));
        assert!(times.is_sorted_by(|a, b| a < b), "{cron}: {times:?}");
        assert_eq!(
            times,
            again.upcoming(start, zone).take(5).collect::<Vec<_>>()
        );
    }
}

fn points_at_its_fault(text: &str, error: &CronError) {
    let span = error.span();
    assert!(
        text.get(span.clone()).is_some(),
        "{span:?} is not a part of {text:?}"
    );
    assert!(!error.to_string().is_empty() && !error.allowed().is_empty());
}
