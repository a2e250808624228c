//! The tasks of a program, and what their jobs do when they run.

use std::cell::Cell;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// How a task is registered.
#[derive(Clone, Copy, Debug)]
pub struct TaskSpec {
    pub name: &'static str,
    pub durable: bool,
    pub at_most_once: bool,
    pub blocking: bool,
    pub timeout: Option<Duration>,
    /// How long each retry waits.
    pub retries: &'static [Duration],
    /// Of that, half is drawn at random.
    pub wavers: bool,
    /// Each attempt sets checkpoints.
    pub has_checkpoints: bool,
}

const fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

const PLAIN: TaskSpec = TaskSpec {
    name: "plain",
    durable: false,
    at_most_once: false,
    blocking: false,
    timeout: None,
    retries: &[],
    wavers: false,
    has_checkpoints: false,
};

pub const TASKS: [TaskSpec; 10] = [
    PLAIN,
    TaskSpec {
        name: "timed",
        timeout: Some(secs(4)),
        ..PLAIN
    },
    TaskSpec {
        name: "retried",
        has_checkpoints: true,
        timeout: Some(secs(3)),
        retries: &[secs(3); 2],
        ..PLAIN
    },
    TaskSpec {
        name: "backoff",
        retries: &[secs(1), secs(2), secs(4)],
        ..PLAIN
    },
    TaskSpec {
        name: "blocking",
        blocking: true,
        retries: &[secs(2)],
        ..PLAIN
    },
    TaskSpec {
        name: "kept",
        has_checkpoints: true,
        durable: true,
        ..PLAIN
    },
    TaskSpec {
        name: "kept-retried",
        has_checkpoints: true,
        durable: true,
        timeout: Some(secs(4)),
        retries: &[secs(3); 2],
        ..PLAIN
    },
    TaskSpec {
        name: "kept-blocking",
        durable: true,
        blocking: true,
        retries: &[secs(2)],
        ..PLAIN
    },
    TaskSpec {
        name: "kept-wavering",
        durable: true,
        retries: &[secs(6); 2],
        wavers: true,
        ..PLAIN
    },
    TaskSpec {
        name: "once",
        has_checkpoints: true,
        durable: true,
        at_most_once: true,
        timeout: Some(secs(4)),
        retries: &[secs(2)],
        ..PLAIN
    },
];

/// Those whose jobs are stored.
pub const KEPT: [u8; 5] = [5, 6, 7, 8, 9];

/// What an attempt does. Those that wait do not wait in a task that blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    Quick,
    Slow {
        ms: u16,
    },
    /// The first attempts of each run fail.
    Fails {
        attempts: u8,
    },
    /// The runs whose bit is set.
    FailsRuns {
        mask: u8,
    },
    /// In the call.
    Panics,
    /// In a later poll.
    PanicsLater,
    Hangs,
    /// Until its token says so.
    UntilStopped,
    /// The first attempt of each run asks for that.
    RetryAfter {
        ms: u16,
    },
    /// With an error that no retry can mend.
    Aborts,
    /// Schedules another of its kind.
    Again {
        left: u8,
    },
    /// Replaces its own job.
    Renew {
        left: u8,
    },
}

/// What an attempt schedules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Child {
    pub script: Script,
    /// In place of what would follow.
    pub is_own: bool,
}

/// How an attempt ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Value,
    Error,
    /// An error that asks for its retry after so long.
    RetryAfter(Duration),
    /// An error that forbids it.
    Abort,
    Panic,
}

impl Script {
    /// How this attempt ends, and after how long; `None`: not by itself.
    pub fn outcome(self, blocking: bool, run: u64, attempt: u32) -> (Option<Duration>, Outcome) {
        let at_once = Some(Duration::ZERO);
        let later = |ms: u16| match blocking {
            true => at_once,
            false => Some(Duration::from_millis(ms.into())),
        };
        match self {
            Script::Quick | Script::Again { .. } | Script::Renew { .. } => {
                (at_once, Outcome::Value)
            }
            Script::Slow { ms } => (later(ms), Outcome::Value),
            Script::Fails { attempts } if attempt <= attempts.into() => (at_once, Outcome::Error),
            Script::FailsRuns { mask } if mask >> (run % 8) & 1 == 1 => (at_once, Outcome::Error),
            Script::Fails { .. } | Script::FailsRuns { .. } => (at_once, Outcome::Value),
            Script::Panics => (at_once, Outcome::Panic),
            Script::PanicsLater => (later(1_250), Outcome::Panic),
            Script::Hangs | Script::UntilStopped if blocking => (at_once, Outcome::Value),
            Script::Hangs | Script::UntilStopped => (None, Outcome::Value),
            Script::RetryAfter { ms } if attempt == 1 => {
                let delay = Duration::from_millis(ms.into());
                (at_once, Outcome::RetryAfter(delay))
            }
            Script::RetryAfter { .. } => (at_once, Outcome::Value),
            Script::Aborts => (at_once, Outcome::Abort),
        }
    }

    /// What an attempt of a task that does not block schedules: another job, or its own
    /// once more.
    pub fn schedules(self) -> Option<Child> {
        match self {
            Script::Again { left: left @ 1.. } => Some(Child {
                script: Script::Again { left: left - 1 },
                is_own: false,
            }),
            Script::Renew { left: left @ 1.. } => Some(Child {
                script: Script::Renew { left: left - 1 },
                is_own: true,
            }),
            _ => None,
        }
    }

    /// As arguments are stored.
    pub fn to_number(self) -> u32 {
        let (kind, number) = match self {
            Script::Quick => (0, 0),
            Script::Slow { ms } => (1, ms),
            Script::Fails { attempts } => (2, attempts.into()),
            Script::FailsRuns { mask } => (3, mask.into()),
            Script::Panics => (4, 0),
            Script::PanicsLater => (5, 0),
            Script::Hangs => (6, 0),
            Script::UntilStopped => (7, 0),
            Script::RetryAfter { ms } => (8, ms),
            Script::Aborts => (9, 0),
            Script::Again { left } => (10, left.into()),
            Script::Renew { left } => (11, left.into()),
        };
        kind << 16 | u32::from(number)
    }

    fn from_number(number: u32) -> Self {
        let (ms, byte) = (number as u16, number as u8);
        match number >> 16 {
            0 => Script::Quick,
            1 => Script::Slow { ms },
            2 => Script::Fails { attempts: byte },
            3 => Script::FailsRuns { mask: byte },
            4 => Script::Panics,
            5 => Script::PanicsLater,
            6 => Script::Hangs,
            7 => Script::UntilStopped,
            8 => Script::RetryAfter { ms },
            9 => Script::Aborts,
            10 => Script::Again { left: byte },
            _ => Script::Renew { left: byte },
        }
    }
}

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
}

/// The arguments of a job, which are counted.
#[derive(Debug)]
pub struct Args {
    pub script: Script,
}

impl Args {
    pub fn new(script: Script) -> Self {
        LIVE.set(LIVE.get() + 1);
        Self { script }
    }

    /// Forgets the arguments that a failed program has left.
    pub fn forget() {
        LIVE.set(0);
    }

    /// How many there are on this thread.
    pub fn live() -> isize {
        LIVE.get()
    }
}

impl Clone for Args {
    fn clone(&self) -> Self {
        Self::new(self.script)
    }
}

impl Drop for Args {
    fn drop(&mut self) {
        LIVE.set(LIVE.get() - 1);
    }
}

impl Serialize for Args {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(self.script.to_number())
    }
}

impl<'de> Deserialize<'de> for Args {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        u32::deserialize(deserializer).map(|number| Self::new(Script::from_number(number)))
    }
}
