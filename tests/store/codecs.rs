//! Arguments and checkpoints that are not stored as JSON.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use crate::support::{HOUR, Log, MINUTE, Machine, Result, SECOND};
use jobber::storage::UnresolvedReason;
use jobber::testing::Simulation;
use jobber::{
    Backoff, BoxError, Codec, Decoder, Encoder, JobContext, JobStatus, Jobber, MemoryStorage,
    RegisterError, ScheduleError, StartError, Task, TaskBuilder,
};

/// JSON whose bytes are all another value.
#[derive(Clone)]
pub struct Veiled {
    name: &'static str,
    /// What it does instead, if that is set.
    fault: Arc<AtomicBool>,
    how: fn() -> Result,
}

impl Veiled {
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            fault: Arc::default(),
            how: || Ok(()),
        }
    }

    fn with_fault(how: fn() -> Result) -> Self {
        let new = Self::new("veiled");
        new.fault.store(true, Ordering::SeqCst);
        Self { how, ..new }
    }
}

impl Codec for Veiled {
    fn name(&self) -> &str {
        self.name
    }

    fn encode(&self, value: Encoder<'_>) -> Result<Vec<u8>, BoxError> {
        let json = serde_json::to_vec(&value)?;
        Ok(json.iter().map(|byte| !byte).collect())
    }

    fn decode(&self, bytes: &[u8], value: Decoder<'_>) -> Result<(), BoxError> {
        if self.fault.load(Ordering::SeqCst) {
            return (self.how)();
        }
        let json: Vec<u8> = bytes.iter().map(|byte| !byte).collect();
        value.read(&mut serde_json::Deserializer::from_slice(&json))
    }
}

/// Logs its argument and the checkpoint that it finds; sets one, and fails in the first attempt.
fn task(sim: &Simulation, name: &str, log: &Log<(String, Option<u32>)>) -> TaskBuilder<String, ()> {
    let log = log.clone();
    let body = async |cx: JobContext, arg: String, log: Log<_>| {
        log.add((arg, cx.last_checkpoint()?));
        cx.checkpoint(&7).await?;
        match cx.attempt() {
            1 => Err::<(), BoxError>("no".into()),
            _ => Ok(()),
        }
    };
    let body = move |cx: JobContext, arg: String| body(cx, arg, log.clone());
    let task = sim.app().task(name, body).durable();
    task.retry(Backoff::fixed(1, MINUTE))
}

/// A machine whose disk has a job that the codec `veiled` has written.
fn with_veiled_job(log: &Log<(String, Option<u32>)>) -> Result<Machine> {
    let machine = Machine::new();
    let sim = machine.boot();
    let task = task(&sim, "t", log).codec(Veiled::new("veiled"));
    let schedule = task.register()?.schedule("a".into()).id("x");
    let _ = schedule.delay(HOUR).block_on()?;
    sim.crash();
    Ok(machine)
}

#[test]
fn arguments_and_checkpoints_are_stored_by_the_codec_of_the_task_or_of_the_app() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let boot = || machine.boot_with(|app| app.codec(Veiled::new("of the app")));
    let register = |sim: &Simulation| -> Result<[Task<String, ()>; 2]> {
        let own = task(sim, "own", &log).codec(Veiled::new("its own"));
        Ok([own.register()?, task(sim, "other", &log).register()?])
    };
    let mut sim = boot();
    let [own, other] = register(&sim)?;
    let job = own.schedule("secret".into()).id("own").push().block_on()?;
    other
        .schedule("secret".into())
        .id("other")
        .push()
        .block_on()?;
    assert_eq!(job.snapshot().args, None);
    sim.run_until_stalled();
    let first = ("secret".to_owned(), None);
    assert_eq!(log.take(), [first.clone(), first]);
    sim.crash();
    let mut codecs = Vec::new();
    for record in machine.disk.records() {
        codecs.push((record.id().to_string(), record.codec().unwrap().to_owned()));
        assert_eq!(record.args()[0], !b'"');
        let json = serde_json::to_value(&record)?;
        let checkpoint = &json["progress"]["checkpoint"];
        assert_eq!(checkpoint["codec"], json["args"]["codec"]);
        assert_eq!(checkpoint["hex"], format!("{:02x}", !b'7'));
    }
    codecs.sort();
    let expected = [("other", "of the app"), ("own", "its own")];
    assert_eq!(
        codecs,
        expected.map(|(id, codec)| (id.into(), codec.into()))
    );

    let mut sim = boot();
    register(&sim)?;
    sim.advance(MINUTE);
    let second = ("secret".to_owned(), Some(7));
    assert_eq!(log.take(), [second.clone(), second]);
    assert!(machine.disk.records().is_empty());
    Ok(())
}

#[test]
fn a_job_whose_codec_its_task_does_not_have_is_unresolved_and_not_lost() -> Result {
    let log = Log::new();
    let machine = with_veiled_job(&log)?;
    for codec in [None, Some("another")] {
        let mut sim = machine.boot();
        let task = task(&sim, "t", &log);
        let task = match codec {
            None => task.register()?,
            Some(name) => task.codec(Veiled::new(name)).register()?,
        };
        assert!(task.job("x").is_none());
        let unresolved = sim.app().unresolved();
        let [job] = &unresolved[..] else {
            panic!("{unresolved:?}")
        };
        let UnresolvedReason::OtherCodec { found, own } = &job.reason else {
            panic!("{job:?}")
        };
        assert_eq!((&**found, own.as_deref()), ("veiled", codec));
        assert!(sim.shutdown(SECOND).is_complete());
    }
    let mut sim = machine.boot();
    let veiled = task(&sim, "t", &log)
        .codec(Veiled::new("veiled"))
        .register()?;
    let job = veiled.job("x").expect("it is there again");
    sim.advance(2 * HOUR);
    assert_eq!(job.status(), JobStatus::Success);
    assert_eq!(log.take()[0].0, "a");
    Ok(())
}

#[test]
fn a_task_that_gets_a_codec_reads_what_was_stored_as_json() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let mut sim = machine.boot();
    let json = task(&sim, "t", &log).register()?;
    let _ = json.schedule("a".into()).id("x").push().block_on()?;
    sim.run_until_stalled();
    sim.crash();
    let mut sim = machine.boot();
    let veiled = task(&sim, "t", &log)
        .codec(Veiled::new("veiled"))
        .register()?;
    let _ = veiled.schedule("b".into()).id("y").delay(HOUR).block_on()?;
    sim.advance(MINUTE);
    assert_eq!(log.take(), [("a".into(), None), ("a".into(), Some(7))]);
    assert_eq!(machine.disk.records()[0].codec(), Some("veiled"));
    Ok(())
}

#[test]
fn a_job_that_has_failed_keeps_its_codec_and_can_be_scheduled_again() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let mut sim = machine.boot();
    let veiled = task(&sim, "t", &log).codec(Veiled::new("veiled"));
    let veiled = veiled.retry(Backoff::fixed(0, MINUTE)).register()?;
    veiled.schedule("a".into()).id("x").push().block_on()?;
    sim.run_until_stalled();
    let failed = sim.app().failed().block_on()?;
    assert_eq!(failed[0].args(), None);
    failed[0].retry().block_on()?;
    sim.run_until_stalled();
    assert_eq!(log.take(), [("a".into(), None), ("a".into(), None)]);
    Ok(())
}

#[test]
fn what_a_codec_can_not_read_is_unresolved() -> Result {
    let log = Log::new();
    let machine = with_veiled_job(&log)?;
    type Fault = (fn() -> Result, &'static str);
    let faults: [Fault; 3] = [
        (|| Err("the key is gone".into()), "the key is gone"),
        (|| panic!("out of luck"), "out of luck"),
        (|| Ok(()), "the codec has read no value"),
    ];
    for (how, expected) in faults {
        let mut sim = machine.boot();
        let _ = task(&sim, "t", &log)
            .codec(Veiled::with_fault(how))
            .register()?;
        let unresolved = sim.app().unresolved();
        let UnresolvedReason::Arguments(reason) = &unresolved[0].reason else {
            panic!("{unresolved:?}")
        };
        assert!(reason.to_string().contains(expected), "{reason}");
        assert!(sim.shutdown(SECOND).is_complete());
    }
    assert_eq!(machine.disk.records().len(), 1);
    Ok(())
}

#[test]
fn what_a_codec_can_not_write_is_refused() -> Result {
    let machine = Machine::new();
    let sim = machine.boot();
    let task = sim.app().task("t", async |_: f64| {}).durable();
    let task = task.codec(Veiled::new("veiled")).register()?;
    // It is written as `null`.
    let error = task.schedule(f64::NAN).push().block_on().unwrap_err();
    assert!(matches!(error, ScheduleError::Arguments { .. }), "{error}");
    let task = sim.app().task("long", async |_: String| {}).durable();
    let task = task
        .codec(Veiled::new("veiled"))
        .max_args_bytes(10)
        .register()?;
    let error = task.schedule("x".repeat(9)).push().block_on().unwrap_err();
    let is_too_long = matches!(error, ScheduleError::ArgumentsTooLong { bytes: 11, .. });
    assert!(is_too_long, "{error}");
    Ok(())
}

#[test]
fn a_job_whose_checkpoint_has_a_codec_that_its_task_does_not_have_is_unresolved() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let mut sim = machine.boot();
    let json = task(&sim, "t", &log).register()?;
    let _ = json.schedule("a".into()).id("x").delay(HOUR).block_on()?;
    sim.run_until_stalled();
    sim.crash();
    // Its arguments stay JSON.
    let mut sim = machine.boot();
    task(&sim, "t", &log)
        .codec(Veiled::new("veiled"))
        .register()?;
    sim.advance(HOUR);
    sim.crash();
    let mut sim = machine.boot();
    task(&sim, "t", &log).register()?;
    sim.advance(HOUR);
    let unresolved = sim.app().unresolved();
    let UnresolvedReason::OtherCodec { found, own: None } = &unresolved[0].reason else {
        panic!("{unresolved:?}")
    };
    assert_eq!(&**found, "veiled");
    sim.crash();
    let mut sim = machine.boot();
    task(&sim, "t", &log)
        .codec(Veiled::new("veiled"))
        .register()?;
    sim.advance(HOUR);
    assert_eq!(log.take(), [("a".into(), None), ("a".into(), Some(7))]);
    Ok(())
}

/// Writes the same value in another way each time, as a codec that encrypts does.
#[derive(Clone, Default)]
struct Salted(Arc<AtomicU8>);

impl Codec for Salted {
    fn name(&self) -> &str {
        "salted"
    }

    fn encode(&self, value: Encoder<'_>) -> Result<Vec<u8>, BoxError> {
        let mut bytes = serde_json::to_vec(&value)?;
        bytes.push(self.0.fetch_add(1, Ordering::SeqCst));
        Ok(bytes)
    }

    fn decode(&self, bytes: &[u8], value: Decoder<'_>) -> Result<(), BoxError> {
        let (_, json) = bytes.split_last().ok_or("it is empty")?;
        value.read(&mut serde_json::Deserializer::from_slice(json))
    }
}

#[test]
fn a_replacement_with_the_same_arguments_keeps_the_checkpoint_although_the_bytes_differ() -> Result
{
    for (first, then) in [(true, true), (false, true)] {
        let machine = Machine::new();
        let log = Log::new();
        let salt = Salted::default();
        for (is_salted, count) in [(first, 1), (then, 2)] {
            let mut sim = machine.boot();
            let task = task(&sim, "t", &log);
            let task = match is_salted {
                true => task.codec(salt.clone()).register()?,
                false => task.register()?,
            };
            let schedule = task.schedule("a".into()).id("x").replace().first_now();
            let _ = schedule.every(HOUR).block_on()?;
            sim.advance(count * MINUTE - SECOND);
            sim.crash();
        }
        assert_eq!(log.take(), [("a".into(), None), ("a".into(), Some(7))]);
    }
    Ok(())
}

#[test]
fn a_job_in_memory_does_not_use_the_codec_and_a_panic_in_one_is_an_error() -> Result {
    let machine = Machine::new();
    let log = Log::new();
    let mut sim = machine.boot();
    let panics = Veiled::with_fault(|| panic!("out of luck"));
    let task = task(&sim, "t", &log).codec(panics).register()?;
    let error = task.schedule("a".into()).push().block_on().unwrap_err();
    assert!(matches!(error, ScheduleError::Arguments { .. }), "{error}");
    task.schedule("b".into()).in_memory().push().block_on()?;
    sim.run_until_stalled();
    assert_eq!(log.take()[0].0, "b");
    Ok(())
}

#[test]
fn a_codec_needs_a_name_and_a_durable_task() -> Result {
    let sim = Machine::new().boot();
    for name in ["", "json", "a\nb", &"x".repeat(65)] {
        let codec = Veiled::new(String::leak(name.into()));
        let task = sim.app().task("t", async || {}).durable();
        let error = task.codec(codec.clone()).register().unwrap_err();
        assert!(matches!(error, RegisterError::InvalidCodec { .. }));
        let app = Jobber::builder().storage(MemoryStorage::new());
        let error = app.codec(codec).build().unwrap_err();
        assert!(matches!(error, StartError::InvalidCodec { .. }));
    }
    let task = sim.app().task("t", async || {});
    let error = task.codec(Veiled::new("veiled")).register().unwrap_err();
    assert!(matches!(
        error,
        RegisterError::NotDurable { option: "codec" }
    ));
    Ok(())
}
