//! Stored jobs become live jobs of the tasks that they are for.

use std::any::{Any, type_name};

use crate::engine::firing::event_of_reason;
use crate::engine::job_state::{Durability, JobState, TaskDef};
use crate::engine::keeping::{is_failure, lost_end};
use crate::engine::pause_switch::PauseSwitch;
use crate::engine::task_registry::{Restore, Restored};
use crate::job::codec::{DecodeError, SharedCodec};
use crate::job::lifecycle::{AfterAttempt, AttemptEnd, Before, Lifecycle};
use crate::job::live_job::LiveJob;
use crate::job::record::JobRecord;
use crate::job::row::{self, AppCalendars};
use crate::sync::panics::{catch_panic, drop_catching_panic};
use crate::sync::primitives::{Arc, Ordering};
use crate::value::app_clock::ClockPrecision;
use crate::value::encoded::Encoded;
use crate::value::end_of_job::OnEnd;
use crate::value::error::UnresolvedReason;
use crate::value::event::JobEventKind;
use crate::value::time_units::Now;

impl<A, R> Restore for TaskDef<A, R>
where
    A: Clone + Send + Sync + 'static,
    R: Send + Sync + 'static,
{
    fn types(&self) -> (&'static str, &'static str) {
        (type_name::<A>(), type_name::<R>())
    }

    fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    fn pause_switch(&self) -> &PauseSwitch {
        &self.pause
    }

    fn on_end(&self) -> &Arc<[OnEnd]> {
        &self.on_end
    }

    fn has(&self, job: &dyn LiveJob) -> bool {
        let job: &dyn Any = job;
        let job = job.downcast_ref::<JobState<A, R>>();
        job.is_some_and(|job| std::ptr::eq(&*job.task, self))
    }

    fn restore(
        self: Arc<Self>,
        record: &JobRecord,
        now: Now,
    ) -> Result<Restored, UnresolvedReason> {
        let Some(Durability {
            args_codec,
            at_most_once,
            max_interruptions,
            ..
        }) = &self.durability
        else {
            return Err(UnresolvedReason::NotDurable);
        };
        let hub = &self.hub;
        let app = AppCalendars {
            zone: &hub.zone,
            database: hub.zone_database.as_ref(),
            calendars: &hub.calendars,
        };
        let mut loaded = row::read(record, app)?;
        // A check: each attempt reads them again. Serde's implementations are code of a
        // user.
        let args = catch_panic(|| args_codec.decode(self.codec.as_ref(), &record.args))
            .unwrap_or_else(|message| Err(DecodeError::Invalid(message.to_string().into())));
        let checkpoints = [&loaded.checkpoint, &loaded.extra_checkpoint];
        let names = checkpoints.into_iter().flatten().filter_map(Encoded::codec);
        check_codecs(names, self.codec.as_ref())?;
        let args = args.map_err(|error| match error {
            DecodeError::OtherCodec { found, own } => UnresolvedReason::OtherCodec { found, own },
            DecodeError::Invalid(reason) => UnresolvedReason::arguments(reason),
        })?;
        if let Some(definition) = Arc::get_mut(&mut loaded.definition)
            && let Some(stored) = &mut definition.args
        {
            // Serde's implementations are code of a user.
            let _ = catch_panic(|| args_codec.note_plain(&args, stored));
        }
        drop_catching_panic(args);
        let lost = lost_end(
            record.progress.attempts.saturating_add(1),
            loaded.start_intent.map_or(now.wall, |intent| intent.at),
            now.wall,
        );
        let mut last_pauses: Vec<_> = self.pauses().filter_map(PauseSwitch::last_pause).collect();
        last_pauses.sort_unstable();
        let before = Before {
            has_closed: hub.was_closed.load(Ordering::SeqCst),
            is_paused: self.is_paused(),
            last_pauses,
            is_at_most_once: *at_most_once,
            max_interruptions: *max_interruptions,
        };
        let clock = hub.reading(now);
        let mut loaded = Lifecycle::loaded(loaded, before, clock, || hub.random());
        if let Some(AttemptEnd {
            next: AfterAttempt::End(status, why),
            ..
        }) = loaded.lost
        {
            let definition = loaded.job.definition();
            let reason = definition.and_then(|definition| event_of_reason(definition, why));
            if is_failure(status) {
                loaded.job.keep_end(lost);
            }
            loaded.job.take_id(now.wall);
            let end = self.end_to_store(&record.id, &loaded.job);
            return Ok(Restored::Lost {
                status,
                reason,
                end,
            });
        }
        let (life, is_changed) = (loaded.job, loaded.is_changed);
        let interrupted = loaded.was_interrupted.then(|| JobEventKind::Interrupted {
            interruptions: life.interruptions(),
            is_set_aside: life.is_set_aside(),
        });
        let due = life.timer();
        let mut job = JobState::of(self, None, life);
        job.core.id = record.id.clone();
        job.core.is_named = true;
        job.core.precision = ClockPrecision::Exact;
        Ok(Restored::Job {
            job: Arc::new(job),
            due,
            interrupted,
            is_changed,
        })
    }
}

/// Checks that the task has the codecs of these values: an attempt must not find a checkpoint that it
/// can't read, and replace it.
fn check_codecs<'a>(
    mut names: impl Iterator<Item = &'a str>,
    own: Option<&SharedCodec>,
) -> Result<(), UnresolvedReason> {
    #[cfg(feature = "serde")]
    let own = own.map(|own| own.name.clone());
    #[cfg(not(feature = "serde"))]
    let own = own.map(|own| match *own {});
    let found = names.find(|name| own.as_deref() != Some(*name));
    found.map_or(Ok(()), |found| {
        Err(UnresolvedReason::OtherCodec {
            found: found.into(),
            own,
        })
    })
}
