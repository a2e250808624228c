//! A program of operations, made of bytes.

use super::calendar::Calendar;
use super::script::{KEPT, Script, TASKS};

/// Where the wall clock stands at first, and what zone the app is in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// Midnight, 1 January 2000, UTC.
    #[default]
    Plain,
    /// Half an hour before Berlin's clocks go forward, in Berlin.
    BerlinForward,
    /// An hour and a half before they go back.
    BerlinBack,
    /// As the clocks of Lord Howe go back by half an hour.
    LordHoweBack,
    /// As those of Chicago go forward.
    ChicagoForward,
}

/// A program: where it starts, and what it does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Program {
    pub start: Start,
    /// Of the first process.
    pub calendar: Calendar,
    /// Whether it is known from when on the clock may be right.
    pub has_earliest: bool,
    pub ops: Vec<Op>,
}

/// When a job is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    Push,
    Delay {
        ms: u32,
    },
    At {
        ms: i32,
    },
    Every {
        ms: u32,
        options: Options,
    },
    Cron {
        text: &'static str,
        options: Options,
    },
    /// From now, as a local time.
    AtLocal {
        ms: i32,
    },
    /// Its options have a start date.
    Calendar {
        unit: Unit,
        options: Options,
    },
    /// Its options have no misfire policy and no start date.
    AfterEach {
        ms: u32,
        options: Options,
    },
}

/// A calendar interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Days(u8),
    Months(u8),
}

/// The options of a recurring job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub misfire: Missed,
    pub max_runs: Option<u8>,
    pub max_failures: Option<u8>,
    pub jitter_ms: u32,
    /// From now.
    pub start_ms: Option<i32>,
    /// From now.
    pub until_ms: Option<i32>,
    pub first_now: bool,
    /// It leaves out the times of the calendar.
    pub except: bool,
    /// A run that has failed for good pauses the job.
    pub pauses: bool,
}

/// `jobber::Misfire`, by numbers that a program is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Missed {
    #[default]
    Once,
    Skip,
    All(u8),
    Grace {
        ms: u32,
    },
}

/// What the store does with a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Commit {
    Works,
    Fails,
    Tears,
    Panics,
    Dies,
    TearsAndDies,
}

/// One step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    Schedule {
        task: u8,
        /// `None`: the app finds an id.
        name: Option<u8>,
        replace: bool,
        /// Also a recurring job by one that runs once.
        any_kind: bool,
        in_memory: bool,
        /// Its own, or the app's.
        zone: Option<Start>,
        script: Script,
        when: When,
        expires_ms: Option<u32>,
        /// A new job is paused at first.
        paused: bool,
    },
    /// A task is paused or resumed, or the app.
    PauseAll {
        task: Option<u8>,
        to: PauseAll,
    },
    /// A job is steered by hand.
    Steer {
        name: u8,
        how: Steer,
    },
    Cancel {
        name: u8,
    },
    Abort {
        name: u8,
    },
    /// A wait begins, and is held.
    Wait {
        name: u8,
    },
    /// A wait for the next run begins, and is held.
    NextRun {
        name: u8,
    },
    /// A wait for the result begins, and is held.
    Result {
        name: u8,
    },
    /// A wait with a limit of centuries begins, and is held.
    WaitLong {
        name: u8,
    },
    /// A wait for all jobs begins, and is held.
    WaitAll,
    /// A reader of the events begins, in place of the one before.
    Listen,
    /// The oldest wait is dropped.
    Unwait,
    /// Runs everything that is due.
    Run,
    Advance {
        ms: u32,
    },
    /// Advances to a nanosecond before the next predicted thing, and then to it.
    AdvanceToNext,
    StepWall {
        ms: i32,
    },
    /// The wall clock is set to the true time.
    SetRight,
    /// The machine is suspended.
    Suspend {
        ms: u32,
    },
    /// The next commits do this, repeated; then the store works.
    Store {
        commits: [Commit; 4],
        times: u8,
    },
    /// The process is killed, and then comes the next.
    Crash {
        next: Next,
    },
    Shutdown {
        grace_ms: u32,
    },
    /// The next process comes, if the last one was shut down.
    Boot {
        next: Next,
    },
    /// Both.
    Restart {
        grace_ms: u32,
        next: Next,
    },
    /// The task that the process lacks is registered.
    Register,
    /// Discards a stored job, if no task can run it.
    Discard {
        name: u8,
    },
    /// The app is started, whether or not it was; the store does this when it is opened
    /// and when it is read.
    Start {
        store: [Commit; 2],
    },
}

/// What becomes of the pause of a task or of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PauseAll {
    Begins,
    Ends { catches_up: bool },
}

/// How a job is steered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Steer {
    Pause,
    Resume {
        catches_up: bool,
    },
    RunNow,
    /// From now.
    MoveTo {
        ms: i32,
    },
    DelayBy {
        ms: u32,
    },
}

/// Another process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Next {
    /// It comes after so long.
    pub down_ms: u32,
    /// By how much the wall clock is set meanwhile.
    pub step_ms: i32,
    /// The machine has no battery for its clock, which begins anew.
    pub is_unset: bool,
    /// Its zone, if it is another one.
    pub zone: Option<Start>,
    /// Its zones have other rules than those of the first process.
    pub has_other_rules: bool,
    pub begins: Begins,
    /// A task that it does not have before an operation registers it.
    pub lacks: Option<u8>,
    /// Its calendar, if it is another one.
    pub calendar: Option<Calendar>,
}

/// How a process begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Begins {
    /// It is started before it has tasks.
    #[default]
    AtOnce,
    WithTasks,
    /// With tasks, and it is started by an operation.
    Unstarted,
}

/// How many names there are.
pub const NAMES: u8 = 6;
const MAX_OPS: usize = 48;

/// As it would be written in a test.
impl std::fmt::Display for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            start,
            calendar,
            has_earliest,
            ..
        } = self;
        writeln!(
            f,
            "Program {{ start: Start::{start:?}, calendar: Calendar::{calendar:?}, \
             has_earliest: {has_earliest}, ops: vec!["
        )?;
        for op in &self.ops {
            writeln!(f, "    Op::{op:?},")?;
        }
        write!(f, "] }}")
    }
}

/// Bytes that decide choices; zeros after the last.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn byte(&mut self) -> u8 {
        match self.0 {
            [first, rest @ ..] => {
                self.0 = rest;
                *first
            }
            [] => 0,
        }
    }

    fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    fn one_in(&mut self, n: u8) -> bool {
        self.byte() % n == n - 1
    }
}

impl Program {
    pub fn random(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut bytes = vec![0; rng.usize(20..400)];
        rng.fill(&mut bytes);
        Self::from_bytes(&bytes)
    }

    /// The program of these bytes; any bytes are valid.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut choices = Choices(bytes);
        let start = choices.start();
        let calendar = choices.calendar();
        let has_earliest = choices.one_in(2);
        let mut ops = Vec::new();
        while !choices.0.is_empty() && ops.len() < MAX_OPS {
            let op = choices.op(&ops);
            ops.push(op);
            // "Declaring its jobs at each start."
            let starts = matches!(op, Op::Crash { .. } | Op::Restart { .. });
            if starts && choices.one_in(2) {
                let op = choices.again(&ops);
                ops.push(op);
            }
        }
        Self {
            start,
            calendar,
            has_earliest,
            ops,
        }
    }
}

impl Options {
    /// Those that a pause can have.
    fn of_pause(self) -> Self {
        Self {
            misfire: Missed::Once,
            start_ms: None,
            except: false,
            ..self
        }
    }
}

impl Choices<'_> {
    fn start(&mut self) -> Start {
        self.of(&[
            Start::Plain,
            Start::Plain,
            Start::BerlinForward,
            Start::BerlinBack,
            Start::LordHoweBack,
            Start::ChicagoForward,
        ])
    }

    fn op(&mut self, before: &[Op]) -> Op {
        let name = |this: &mut Self| this.byte() % NAMES;
        match self.byte() % 72 {
            0..13 if self.one_in(3) => self.again(before),
            0..13 => self.schedule(),
            13 | 14 => Op::Cancel { name: name(self) },
            15 | 16 => Op::Abort { name: name(self) },
            17 | 18 => Op::Wait { name: name(self) },
            19 => Op::NextRun { name: name(self) },
            20 => Op::Unwait,
            21 => Op::Run,
            22..28 => Op::Advance {
                ms: self.of(&[1, 500, 1_000, 2_000, 5_000, 10_000, 10_000, 30_000, 200_000]),
            },
            28..32 => Op::AdvanceToNext,
            32 | 33 => Op::StepWall {
                ms: self.of(&[
                    1,
                    -1,
                    1_000,
                    -1_000,
                    5_000,
                    -5_000,
                    60_000,
                    -60_000,
                    3_600_000,
                    -3_600_000,
                    9_000_000,
                    -9_000_000,
                    18_000_000,
                    -18_000_000,
                ]),
            },
            34 | 35 => Op::Store {
                commits: [(); 4].map(|()| self.commit()),
                times: self.of(&[1, 1, 1, 2, 10]),
            },
            36 => Op::Crash { next: self.next() },
            37 => Op::Shutdown {
                grace_ms: self.grace(),
            },
            38 => Op::Boot { next: self.next() },
            39 => Op::Restart {
                grace_ms: self.grace(),
                next: self.next(),
            },
            40 | 41 => Op::Start {
                store: [(); 2].map(|()| self.commit()),
            },
            42 => Op::Result { name: name(self) },
            43 => Op::WaitLong { name: name(self) },
            44 => Op::WaitAll,
            45 => Op::Listen,
            46 => Op::Register,
            47 => Op::Discard { name: name(self) },
            51 | 52 => Op::SetRight,
            53..57 => Op::Steer {
                name: name(self),
                how: Steer::Pause,
            },
            57..62 => Op::Steer {
                name: name(self),
                how: Steer::Resume {
                    catches_up: self.one_in(3),
                },
            },
            62..66 => Op::Steer {
                name: name(self),
                how: Steer::RunNow,
            },
            68 => Op::PauseAll {
                task: self.pausable(),
                to: PauseAll::Begins,
            },
            69..72 => Op::PauseAll {
                task: self.pausable(),
                to: PauseAll::Ends {
                    catches_up: self.one_in(3),
                },
            },
            66 if self.one_in(2) => Op::Steer {
                name: name(self),
                how: Steer::DelayBy {
                    ms: self.of(&[0, 700, 5_000, 5_000, 60_000]),
                },
            },
            66 => Op::Steer {
                name: name(self),
                how: Steer::MoveTo {
                    ms: self.of(&[-1_000, 0, 500, 3_000, 30_000, 30_000, 7_200_000]),
                },
            },
            48 => Op::Suspend {
                ms: self.of(&[400, 2_000, 60_000, 7_200_000]),
            },
            _ => Op::Advance {
                ms: self.of(&[600_000, 1_800_000, 3_600_000]),
            },
        }
    }

    /// A task, or the app.
    fn pausable(&mut self) -> Option<u8> {
        self.of(&[None, Some(0), Some(5), Some(6), Some(9)])
    }

    fn grace(&mut self) -> u32 {
        self.of(&[0, 1_000, 5_000, 60_000])
    }

    fn next(&mut self) -> Next {
        Next {
            down_ms: self.of(&[0, 0, 500, 5_000, 60_000, 7_200_000]),
            step_ms: match self.one_in(4) {
                true => self.of(&[
                    500,
                    -500,
                    60_000,
                    -60_000,
                    7_200_000,
                    -7_200_000,
                    18_000_000,
                    -18_000_000,
                ]),
                false => 0,
            },
            is_unset: self.one_in(6),
            zone: self.one_in(4).then(|| self.start()),
            has_other_rules: self.one_in(8),
            begins: self.of(&[
                Begins::AtOnce,
                Begins::AtOnce,
                Begins::WithTasks,
                Begins::WithTasks,
                Begins::Unstarted,
            ]),
            lacks: self.one_in(3).then(|| self.of(&KEPT)),
            calendar: self.one_in(3).then(|| self.calendar()),
        }
    }

    fn calendar(&mut self) -> Calendar {
        self.of(&[
            Calendar::HalfMinutes,
            Calendar::HalfMinutes,
            Calendar::Night,
            Calendar::EvenMinutes,
            Calendar::Ever,
            Calendar::None,
        ])
    }

    fn commit(&mut self) -> Commit {
        match self.byte() % 16 {
            0..9 => Commit::Works,
            9..12 => Commit::Fails,
            12..14 => Commit::Tears,
            14 => Commit::Panics,
            _ if self.one_in(2) => Commit::Dies,
            _ => Commit::TearsAndDies,
        }
    }

    fn schedule(&mut self) -> Op {
        let task = self.byte() % TASKS.len() as u8;
        let name = self.byte();
        Op::Schedule {
            task,
            name: (name < 220).then_some(name % NAMES),
            replace: self.one_in(3),
            any_kind: self.one_in(2),
            in_memory: self.one_in(8),
            zone: self.one_in(8).then(|| self.start()),
            script: self.script(),
            when: self.when(),
            expires_ms: self.expires(),
            paused: self.one_in(10),
        }
    }

    fn expires(&mut self) -> Option<u32> {
        match self.one_in(4) {
            true => Some(self.of(&[1, 700, 2_000, 4_500, 12_000, 1_200_000])),
            false => None,
        }
    }

    /// A job that was scheduled is replaced, as nearly by itself as not.
    fn again(&mut self, before: &[Op]) -> Op {
        let named = before.iter().rev();
        let named = named.filter(|op| matches!(op, Op::Schedule { name: Some(_), .. }));
        let mut named = named.skip(usize::from(self.byte() % 3));
        let mut op = match named.next() {
            Some(op) => *op,
            None => return self.schedule(),
        };
        if let Op::Schedule {
            replace,
            script,
            when,
            expires_ms,
            ..
        } = &mut op
        {
            if self.one_in(4) {
                *expires_ms = self.expires();
            }
            *replace = true;
            *script = self.script();
            match (self.byte() % 4, when) {
                (0, when) => *when = self.when(),
                (1, When::Every { options, .. } | When::Cron { options, .. }) => {
                    *options = self.options();
                }
                (1, When::AfterEach { options, .. }) => *options = self.options().of_pause(),
                (1, When::Calendar { options, .. }) => *options = self.calendar_options(),
                _ => {}
            }
        }
        op
    }

    fn script(&mut self) -> Script {
        match self.byte() % 16 {
            0..4 => Script::Quick,
            4..7 => Script::Slow {
                ms: self.of(&[500, 1_500, 2_500, 3_500, 7_500]),
            },
            7 | 8 => Script::Fails {
                attempts: self.of(&[1, 2, 3, 200]),
            },
            9 => Script::FailsRuns { mask: self.byte() },
            10 => Script::Panics,
            11 => Script::PanicsLater,
            12 => Script::Hangs,
            13 => Script::UntilStopped,
            14 if self.one_in(2) => Script::Aborts,
            14 => Script::RetryAfter {
                ms: self.of(&[0, 700, 6_000]),
            },
            _ if self.one_in(2) => Script::Renew {
                left: self.byte() % 4,
            },
            _ => Script::Again {
                left: self.byte() % 4,
            },
        }
    }

    fn when(&mut self) -> When {
        match self.byte() % 16 {
            0 | 1 => When::Push,
            2 | 3 => When::Delay {
                ms: self.of(&[0, 1, 1_000, 4_000, 12_000, 100_000]),
            },
            4 | 5 => When::At {
                ms: self.of(&[-5_000, 0, 1, 3_000, 15_000, 3_000_000]),
            },
            13 => When::AtLocal {
                ms: self.of(&[-5_000, 0, 3_000, 15_000, 3_000_000]),
            },
            14 | 15 => When::Calendar {
                unit: self.of(&[Unit::Days(1), Unit::Days(1), Unit::Days(2), Unit::Months(1)]),
                options: self.calendar_options(),
            },
            12 => When::AfterEach {
                ms: self.of(&[2_000, 9_500, 90_000]),
                options: self.options().of_pause(),
            },
            6..9 => When::Every {
                ms: self.of(&[2_000, 5_000, 9_500, 20_000, 90_000]),
                options: self.options(),
            },
            _ => When::Cron {
                text: self.of(&[
                    "*/10 * * * * * *",
                    "7/20 * * * * * *",
                    "* * * * *",
                    "*/1 * * * *",
                    "30 2 * * *",
                    "30 02 ? * *",
                    "0,30 1-3 * * *",
                    "*/15 2 * * *",
                    "0 30 1 * * * *",
                ]),
                options: self.options(),
            },
        }
    }

    /// All its times may be excluded, which is not predicted.
    fn calendar_options(&mut self) -> Options {
        const DAY: i32 = 86_400_000;
        let start_ms = self.of(&[
            5_000 - DAY,
            10_000 - DAY,
            5_000 - 2 * DAY,
            900_000 - 3 * DAY,
            -800,
            0,
            25_000,
        ]);
        Options {
            start_ms: Some(start_ms),
            except: false,
            ..self.options()
        }
    }

    fn options(&mut self) -> Options {
        Options {
            misfire: self.of(&[
                Missed::Once,
                Missed::Once,
                Missed::Skip,
                Missed::All(0),
                Missed::All(2),
                Missed::All(200),
                Missed::Grace { ms: 0 },
                Missed::Grace { ms: 12_000 },
            ]),
            max_runs: self.of(&[None, None, Some(1), Some(2), Some(5)]),
            max_failures: self.of(&[None, None, Some(1), Some(2)]),
            jitter_ms: self.of(&[0, 0, 0, 0, 0, 1_500, 60_000]),
            start_ms: self.of(&[
                None,
                None,
                None,
                None,
                Some(-7_000),
                Some(-800),
                Some(0),
                Some(25_000),
            ]),
            until_ms: match self.one_in(4) {
                true => Some(self.of(&[1_000, 30_000, 7_200_000])),
                false => None,
            },
            first_now: self.one_in(8),
            except: self.one_in(6),
            pauses: self.one_in(6),
        }
    }
}
