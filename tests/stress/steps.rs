//! What a worker may do next.

use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use jobber::{CancelOutcome, JobStatus, Jobs, Misfire, Overlap, storage::StorageError};
use smol::block_on;
use smol::future::poll_once;

use super::slots::{MOST_LIMITED, fault};
use super::tasks::RETRIES;
use super::worker::{Kept, Plan, Step, Strangers, When, Worker};

impl Worker<'_> {
    /// Waits, keeps the job, or forgets it.
    fn settle(&mut self, kept: Kept) {
        if self.rng.u8(..4) == 0 {
            let before = self.round.left.lock().unwrap().replace(kept.job.clone());
            drop(before);
        }
        if self.rng.u8(..3) > 0 {
            self.wait(&kept.job);
        }
        if kept.is_endless || self.rng.u8(..4) > 0 {
            self.kept.push(kept);
        } else if kept.expected.is_some() && !self.is_meddled_with() {
            // Nothing waits for it.
            self.round.forgotten.lock().unwrap().push(kept.slot);
        }
    }

    fn run(&mut self, plan: Plan<'_>) -> Step {
        if let Some(kept) = self.submit(plan)? {
            self.settle(kept);
        }
        Ok(())
    }

    /// For a thread that has the app for itself: nothing else wakes anybody.
    pub fn step_alone(&mut self) -> Step {
        let tasks = &self.round.tasks;
        let when = match self.rng.bool() {
            true => When::Push,
            false => When::Delay(self.micros(200)),
        };
        let plan = Plan::new(&tasks.quick, when, JobStatus::Success);
        if let Some(kept) = self.submit(plan)? {
            self.wait(&kept.job);
            self.kept.push(kept);
        }
        Ok(())
    }

    pub fn step(&mut self) -> Step {
        use JobStatus::{Failed, Success, Timeout};
        self.round.steps.fetch_add(1, Ordering::SeqCst);
        let tasks = &self.round.tasks;
        let when = self.soon();
        match self.rng.u8(..44) {
            0..=5 => self.run(Plan::new(&tasks.quick, when, Success)),
            6 | 7 => self.run(Plan::new(&tasks.yields, when, Success)),
            8 => self.run(Plan::new(&tasks.blocking, when, Success)),
            9 => self.run(Plan {
                attempts: RETRIES + 1,
                ..Plan::new(&tasks.retried, when, Success)
            }),
            10 | 11 if self.round.kind.can_wait() => self.abort(when),
            12 if self.round.kind.can_wait() => self.run(Plan {
                attempts: RETRIES + 1,
                ..Plan::new(&tasks.never_in_time, when, Timeout)
            }),
            13 if self.round.kind.can_wait() => {
                // Its bomb goes off when it has timed out already.
                self.run(Plan::new(&tasks.panics_in_drop, when, Timeout))
            }
            14 => self.run(Plan::new(&tasks.panics_in_call, when, Failed)),
            15 => self.run(Plan::new(&tasks.panics_in_poll, when, Failed)),
            16 => self.run(Plan::new(&tasks.panics_blocking, when, Failed)),
            17 => self.run(Plan::new(&tasks.gives_bomb, when, Success)),
            18 => self.run(Plan {
                has_bomb: true,
                expected: None,
                ..Plan::new(&tasks.quick, when, Success)
            }),
            19 => self.recur(),
            20..=22 => self.cancel(false),
            23 | 24 => self.replace(),
            25 => self.share(when),
            26 => self.help(),
            27 => {
                self.look_around();
                Ok(())
            }
            28..=31 => self.store(when),
            32 => self.follow_the_wall_clock(),
            33 if self.round.kind.can_wait() => self.tell(when),
            34 => self.discard(),
            35 | 36 => self.run(Plan::new(&tasks.limited, when, Success)),
            37 => self.run(Plan::new(&tasks.limited_blocking, when, Success)),
            38 => {
                tasks.shared.set(self.rng.usize(1..=MOST_LIMITED));
                Ok(())
            }
            39 => self.steer(),
            40 => self.select(),
            41 => self.overlap(),
            _ => self.store(when),
        }
    }

    fn abort(&mut self, when: When) -> Step {
        let tasks = &self.round.tasks;
        let task = match self.rng.u8(..4) {
            0 => &tasks.never,
            1 => &tasks.until_told,
            2 => &tasks.until_told_blocking,
            _ => &tasks.panics_in_drop,
        };
        let plan = Plan::new(task, when, JobStatus::Cancelled);
        let Some(mut kept) = self.submit(plan)? else {
            return Ok(());
        };
        self.dawdle();
        self.place.does_with("aborts", kept.job.as_any());
        let aborted = match self.rng.bool() {
            true => kept.job.abort().block_on(),
            false => block_on(kept.job.abort()),
        };
        // It may have been too late, for those that panic time out as well.
        if !aborted.unwrap().took_effect() {
            kept.expected = None;
        } else if kept.job.status() != JobStatus::Cancelled {
            fault(format!("aborted: {:?}", kept.job));
        }
        self.settle_kept(kept);
        Ok(())
    }

    fn settle_kept(&mut self, kept: Kept) {
        self.wait(&kept.job);
        self.kept.push(kept);
    }

    fn cancel(&mut self, is_stored: bool) -> Step {
        let tasks = &self.round.tasks;
        let task = match &tasks.stored {
            Some(stored) if is_stored => &stored.quick,
            _ => &tasks.quick,
        };
        let when = When::Delay(self.micros(400));
        let plan = Plan {
            is_stored,
            ..Plan::new(task, when, JobStatus::Success)
        };
        let Some(mut kept) = self.submit(plan)? else {
            return Ok(());
        };
        self.dawdle();
        self.place.does_with("cancels", kept.job.as_any());
        let cancelled = match self.rng.bool() {
            true => kept.job.cancel().block_on(),
            false => block_on(kept.job.cancel()),
        };
        match cancelled {
            Ok(CancelOutcome::Cancelled) => {
                kept.expected = Some(JobStatus::Cancelled);
                // It will never run.
                let marks = self.round.slots.get(kept.slot);
                marks.limit.store(0, Ordering::SeqCst);
            }
            Ok(_) => {}
            // It is the next process's.
            Err(StorageError::Closed) if self.round.is_stopping() => kept.expected = None,
            // The store is retried, unless the app ends before.
            Err(_) if is_stored && self.round.store_fails => kept.expected = None,
            Err(error) => fault(format!("cancelling {:?}: {error}", kept.job)),
        }
        self.settle_kept(kept);
        Ok(())
    }

    fn recur(&mut self) -> Step {
        let misfire = self.misfire();
        let interval = match misfire {
            // Shorter than a thread takes to wake, and each of its times is missed.
            Some(Misfire::Skip) => Duration::from_millis(self.rng.u64(2..4)),
            _ => Duration::from_micros(self.rng.u64(50..600)),
        };
        let jitter = self.rng.bool().then(|| self.micros(1_000));
        let runs = self.rng.u32(1..4);
        let tasks = &self.round.tasks;
        let plan = Plan {
            misfire,
            jitter,
            ..Plan::new(
                &tasks.yields,
                When::Every(interval, runs),
                JobStatus::Success,
            )
        };
        let Some(kept) = self.submit(plan)? else {
            return Ok(());
        };
        let mut last = 0;
        loop {
            let next = kept.job.next_run();
            let ended = kept.job.last_run();
            self.place
                .does_with("waits for a run of", kept.job.as_any());
            let next = match self.rng.bool() {
                true => next.block_on(),
                false => block_on(next),
            };
            let Some(run) = next else {
                // A run that ended after the wait began would have been given.
                if kept.job.last_run() != ended && !self.round.is_stopping() {
                    fault(format!("a run of {:?} after {ended:?} is missed", kept.job));
                }
                break;
            };
            if run.number <= last {
                fault(format!("run {} after run {last}", run.number));
            }
            last = run.number;
        }
        if !kept.job.is_done() && !self.round.is_stopping() {
            fault(format!("no next run of {:?}", kept.job));
        }
        self.settle(kept);
        Ok(())
    }

    /// Runs of a job become jobs of their own, which are alive at the same time.
    fn overlap(&mut self) -> Step {
        let runs = self.rng.u32(1..4);
        let interval = Duration::from_micros(self.rng.u64(50..600));
        let plan = Plan {
            overlap: Overlap::Spawn(self.rng.usize(1..4)),
            ..Plan::new(
                &self.round.tasks.yields,
                When::Every(interval, runs),
                JobStatus::Success,
            )
        };
        let Some(kept) = self.submit(plan)? else {
            return Ok(());
        };
        if self.round.kind.is_honest() {
            let (round, starts) = (self.round, &self.round.slots.get(kept.slot).starts);
            self.place.until("waits for the jobs of runs", || {
                round.is_stopping() || starts.load(Ordering::SeqCst) == runs
            });
        }
        self.settle(kept);
        Ok(())
    }

    /// Pauses a job, and resumes it or runs it now.
    fn steer(&mut self) -> Step {
        let tasks = &self.round.tasks;
        let task = match self.rng.bool() {
            true => &tasks.limited,
            false => &tasks.yields,
        };
        let when = When::Delay(self.micros(400));
        let plan = Plan::new(task, when, JobStatus::Success);
        let Some(kept) = self.submit(plan)? else {
            return Ok(());
        };
        self.place.does_with("steers", kept.job.as_any());
        let mut steered = vec![kept.job.pause().block_on().err()];
        self.dawdle();
        if self.rng.bool() {
            let marks = self.round.slots.get(kept.slot);
            marks.set_due(Duration::ZERO, Duration::ZERO);
            steered.push(kept.job.run_now().block_on().err());
        }
        self.dawdle();
        steered.push(kept.job.resume().block_on().err());
        if let Some(error) = steered.into_iter().flatten().next() {
            fault(format!("steering {:?}: {error}", kept.job));
        }
        self.settle_kept(kept);
        Ok(())
    }

    /// Pauses and resumes, or cancels, jobs of its own at once.
    fn select(&mut self) -> Step {
        let Some(app) = self.app.clone() else {
            return self.help();
        };
        let tag = format!("worker {}", self.number);
        let cancels = self.rng.bool();
        let mut all = Vec::new();
        for _ in 0..3 {
            let when = When::Delay(self.micros(400));
            let plan = Plan {
                tag: Some(tag.clone()),
                expected: (!cancels).then_some(JobStatus::Success),
                ..Plan::new(&self.round.tasks.quick, when, JobStatus::Success)
            };
            all.extend(self.submit(plan)?);
        }
        self.place.does("selects");
        let mine = || app.select(Jobs::matching().tag(&tag));
        let paused = mine().pause().block_on();
        self.dawdle();
        let next = match cancels {
            true => mine().cancel().block_on(),
            false => mine().resume().block_on(),
        };
        if let Some(error) = paused.err().or(next.err()) {
            fault(format!("selecting {tag}: {error}"));
        }
        for kept in all {
            self.settle_kept(kept);
        }
        Ok(())
    }

    fn misfire(&mut self) -> Option<Misfire> {
        match self.rng.u8(..5) {
            0 => None,
            1 => Some(Misfire::Once),
            2 => Some(Misfire::Skip),
            3 => Some(Misfire::All(self.rng.u32(1..4))),
            _ => Some(Misfire::Grace(Duration::from_millis(
                self.rng.u64(10..3_000),
            ))),
        }
    }

    /// A job of a cron expression, while the wall clock is set forward by this thread, and
    /// by others. It ends with its runs, or it is cancelled.
    fn follow_the_wall_clock(&mut self) -> Step {
        /// Those that leave out what is late may do so for as long as others set the clock.
        const TRIES: usize = 20;
        let runs = self.rng.u32(1..3);
        let jitter = self.rng.bool().then(|| self.micros(500_000));
        let plan = Plan {
            misfire: self.misfire(),
            jitter,
            ..Plan::new(
                &self.round.tasks.yields,
                When::Cron(runs),
                JobStatus::Success,
            )
        };
        let Some(mut kept) = self.submit(plan)? else {
            return Ok(());
        };
        self.place
            .does_with("sets the clock for", kept.job.as_any());
        for _ in 0..TRIES {
            // The times that the store gets must not change afterwards: the next process
            // goes by the wall clock alone.
            if kept.job.is_done() || self.round.is_stopping() || !self.is_in_peace() {
                break;
            }
            let seconds = self.rng.u64(1..4);
            self.round.clock.set_forward(seconds);
            self.dawdle();
        }
        self.place.does_with("cancels", kept.job.as_any());
        match kept.job.cancel().block_on() {
            // At once, or at the end of the run that goes on.
            Ok(CancelOutcome::AlreadyDone) => {}
            Ok(_) => kept.expected = kept.expected.map(|_| JobStatus::Cancelled),
            Err(error) => fault(format!("cancelling {:?}: {error}", kept.job)),
        }
        self.settle_kept(kept);
        Ok(())
    }

    /// A job that ends when its token is set: by its timeout, or by the end of the app.
    fn tell(&mut self, when: When) -> Step {
        let tasks = &self.round.tasks;
        if self.is_in_peace() || self.rng.bool() {
            let plan = Plan::new(&tasks.told_by_timeout, when, JobStatus::Timeout);
            return self.run(plan);
        }
        let task = match self.rng.bool() {
            true => &tasks.until_told,
            false => &tasks.until_told_blocking,
        };
        let plan = Plan {
            is_endless: true,
            ..Plan::new(task, when, JobStatus::Success)
        };
        // It is not waited for: this may be the thread that is to end the app.
        let kept = self.submit(plan)?;
        self.kept.extend(kept);
        Ok(())
    }

    /// Discards a stored job of no known task. The caller whose discard succeeds has its id.
    fn discard(&mut self) -> Step {
        let (Some(app), Some(stored)) = (&self.app, &self.round.tasks.stored) else {
            return self.help();
        };
        let number = self.rng.usize(..self.round.strangers.0.len());
        let id = Strangers::id(number);
        self.place.does("discards");
        let discarded = match self.rng.bool() {
            true => app.discard(&*id).block_on(),
            false => block_on(app.discard(&*id)),
        };
        match discarded {
            Ok(true) => {
                self.round.strangers.0[number].fetch_add(1, Ordering::SeqCst);
                let when = self.soon();
                let plan = Plan {
                    id: Some(id),
                    is_stored: true,
                    ..Plan::new(&stored.quick, when, JobStatus::Success)
                };
                self.run(plan)
            }
            Ok(false) => Ok(()),
            // The store is retried, here or by the next process.
            Err(StorageError::Closed) if self.round.is_stopping() => Ok(()),
            Err(_) if self.round.store_fails => Ok(()),
            Err(error) => {
                fault(format!("discarding {id}: {error}"));
                Ok(())
            }
        }
    }

    /// Replaces a job of a name of its own, a few times.
    fn replace(&mut self) -> Step {
        self.names += 1;
        let id = format!("worker {}, name {}", self.number, self.names);
        let tasks = &self.round.tasks;
        let mut first = None;
        let mut last: Option<Kept> = None;
        for _ in 0..self.rng.u8(2..5) {
            let when = When::Delay(self.micros(300));
            let plan = Plan {
                id: Some(id.clone()),
                is_replacing: true,
                // One that its executor drops is over before it is gone.
                replaces: first.filter(|_| self.round.kind.is_honest()),
                ..Plan::new(&tasks.yields, when, JobStatus::Success)
            };
            if let Some(kept) = self.submit(plan)? {
                first = first.or(Some(kept.slot));
                last = Some(kept);
            }
            self.dawdle();
        }
        if let Some(kept) = last {
            self.settle(kept);
        }
        Ok(())
    }

    /// Schedules a job of a name that others use as well.
    fn share(&mut self, when: When) -> Step {
        let id = format!("shared {}", self.rng.u8(..3));
        let tasks = &self.round.tasks;
        let plan = Plan {
            id: Some(id),
            is_replacing: self.rng.bool(),
            // Another one may replace it.
            expected: None,
            ..Plan::new(&tasks.yields, when, JobStatus::Success)
        };
        self.run(plan)
    }

    fn store(&mut self, when: When) -> Step {
        let Some(stored) = &self.round.tasks.stored else {
            return self.help();
        };
        let plan = match self.rng.u8(..8) {
            0..=2 => Plan::new(&stored.quick, when, JobStatus::Success),
            3 => Plan::new(&stored.blocking, when, JobStatus::Success),
            4 => Plan {
                attempts: RETRIES + 1,
                ..Plan::new(&stored.retried, when, JobStatus::Success)
            },
            5 | 6 => Plan {
                at_most_once: true,
                ..Plan::new(&stored.once, when, JobStatus::Success)
            },
            _ => return self.cancel(true),
        };
        self.run(Plan {
            is_stored: true,
            ..plan
        })
    }

    /// Waits for another one's job.
    fn help(&mut self) -> Step {
        let job = self.round.left.lock().unwrap().clone();
        if let Some(job) = job {
            self.wait(&job);
        }
        Ok(())
    }

    fn look_around(&mut self) {
        let Some(app) = &self.app else { return };
        self.place.does("looks around");
        let mut events = app.events();
        for job in app.jobs().iter().take(20) {
            let _ = (job.exec_at(), job.status(), job.last_run());
            let _ = app.find_job(job.id()).is_some();
        }
        // Given up.
        let _ = block_on(poll_once(app.wait_all()));
        while events.try_next().is_some() {}
        let _ = app.health();
    }

    /// So that what was begun is here at one time, and there at another.
    fn dawdle(&mut self) {
        for _ in 0..self.rng.u8(..6) {
            thread::yield_now();
        }
    }

    pub fn shut_down(&mut self, grace: Duration) {
        let Some(app) = &self.app else { return };
        self.place.does("shuts down");
        self.round.is_stopping.store(true, Ordering::SeqCst);
        match self.rng.bool() {
            true => app.shutdown(grace).block_on(),
            false => block_on(app.shutdown(grace)),
        };
    }
}
