//! Makes a failing program smaller.

use super::calendar::Calendar;
use super::program::{Begins, Commit, Next, Op, Options, Program, Start, When};
use super::script::Script;

/// How many programs are tried at most.
const MOST_TRIES: usize = 3_000;

/// A smaller program with the same kind of fault.
pub fn shrink(program: &Program, run: impl Fn(&Program) -> Option<String>) -> Program {
    let mut best = program.clone();
    let Some(fault) = run(program) else {
        return best;
    };
    let mut tries = 0;
    let mut fails = |program: &Program| {
        tries += 1;
        tries <= MOST_TRIES && run(program).is_some_and(|other| kind(&other) == kind(&fault))
    };
    loop {
        let before = best.clone();
        without_chunks(&mut best, &mut fails);
        simpler(&mut best, &mut fails);
        if best == before {
            return best;
        }
    }
}

/// The words of a fault, without those that name what it was found at.
fn kind(fault: &str) -> Vec<&str> {
    let words = fault.split_whitespace().take(8);
    words
        .filter(|word| word.chars().all(|c| c.is_ascii_lowercase()))
        .collect()
}

/// Leaves out halves, quarters, … and single operations.
fn without_chunks(best: &mut Program, fails: &mut impl FnMut(&Program) -> bool) {
    let mut size = best.ops.len().div_ceil(2);
    while size > 0 {
        let mut at = 0;
        while at < best.ops.len() {
            let mut shorter = best.clone();
            shorter.ops.drain(at..best.ops.len().min(at + size));
            match fails(&shorter) {
                true => *best = shorter,
                false => at += size,
            }
        }
        size /= 2;
    }
}

/// Makes each operation as plain as it can be.
fn simpler(best: &mut Program, fails: &mut impl FnMut(&Program) -> bool) {
    let mut plain = best.clone();
    plain.start = Start::Plain;
    if plain != *best && fails(&plain) {
        *best = plain;
    }
    let mut plain = best.clone();
    plain.calendar = Calendar::default();
    if plain != *best && fails(&plain) {
        *best = plain;
    }
    let named = with_first_names(best);
    if named != *best && fails(&named) {
        *best = named;
    }
    for at in 0..best.ops.len() {
        for op in simpler_ops(best.ops[at]) {
            let mut simpler = best.clone();
            simpler.ops[at] = op;
            if simpler != *best && fails(&simpler) {
                *best = simpler;
            }
        }
    }
}

/// Names by the order in which they come.
fn with_first_names(program: &Program) -> Program {
    let mut named = program.clone();
    let mut names = Vec::new();
    for op in &mut named.ops {
        let name = match op {
            Op::Schedule { name, .. } => name.as_mut(),
            Op::Cancel { name }
            | Op::Abort { name }
            | Op::Wait { name }
            | Op::NextRun { name }
            | Op::Result { name }
            | Op::Discard { name }
            | Op::WaitLong { name }
            | Op::Steer { name, .. } => Some(name),
            _ => None,
        };
        let Some(name) = name else {
            continue;
        };
        if !names.contains(name) {
            names.push(*name);
        }
        let place = names.iter().position(|other| other == name);
        *name = place.expect("it was put there") as u8;
    }
    named
}

fn simpler_nexts(next: Next) -> Vec<Next> {
    vec![
        Next::default(),
        Next { down_ms: 0, ..next },
        Next { zone: None, ..next },
        Next {
            has_other_rules: false,
            ..next
        },
        Next { step_ms: 0, ..next },
        Next {
            is_unset: false,
            ..next
        },
        Next {
            lacks: None,
            ..next
        },
        Next {
            calendar: None,
            ..next
        },
        Next {
            begins: Begins::AtOnce,
            ..next
        },
    ]
}

fn simpler_ops(op: Op) -> Vec<Op> {
    match op {
        Op::Schedule {
            task,
            name,
            replace,
            any_kind,
            in_memory,
            zone,
            script,
            when,
            expires_ms,
            paused,
        } => {
            let with = |task, script, when, replace, in_memory| Op::Schedule {
                task,
                name,
                replace,
                any_kind,
                in_memory,
                zone,
                script,
                when,
                expires_ms,
                paused,
            };
            let plain = match when {
                When::Every { ms, .. } => When::Every {
                    ms,
                    options: Options::default(),
                },
                When::AfterEach { ms, .. } => When::AfterEach {
                    ms,
                    options: Options::default(),
                },
                When::Calendar { unit, options } => When::Calendar {
                    unit,
                    options: Options {
                        start_ms: options.start_ms,
                        ..Options::default()
                    },
                },
                When::Cron { text, .. } => When::Cron {
                    text,
                    options: Options::default(),
                },
                _ => When::Push,
            };
            let sooner = match when {
                When::Delay { .. } => When::Delay { ms: 1_000 },
                When::At { .. } => When::At { ms: 1_000 },
                When::Every { options, .. } => When::Every { ms: 2_000, options },
                other => other,
            };
            let (mut without_zone, mut without_limit, mut unpaused) = (op, op, op);
            if let Op::Schedule { zone, .. } = &mut without_zone {
                *zone = None;
            }
            if let Op::Schedule { expires_ms, .. } = &mut without_limit {
                *expires_ms = None;
            }
            if let Op::Schedule { paused, .. } = &mut unpaused {
                *paused = false;
            }
            vec![
                without_zone,
                without_limit,
                unpaused,
                with(task, script, sooner, replace, in_memory),
                with(task, script, when, false, false),
                with(task, script, when, replace, false),
                with(0, script, when, replace, in_memory),
                with(5, script, when, replace, in_memory),
                with(task, Script::Quick, when, replace, in_memory),
                with(task, script, plain, replace, in_memory),
            ]
        }
        Op::Advance { ms } => [1, 1_000, 10_000]
            .into_iter()
            .filter(|less| *less < ms)
            .map(|ms| Op::Advance { ms })
            .collect(),
        Op::StepWall { ms } => [1_000, 60_000]
            .into_iter()
            .filter(|less| *less < ms.abs())
            .map(|less| Op::StepWall {
                ms: less * ms.signum(),
            })
            .collect(),
        Op::Store { commits, times } => {
            let mut simpler = vec![Op::Store { commits, times: 1 }];
            for place in 0..commits.len() {
                let mut fewer = commits;
                fewer[place] = Commit::Works;
                simpler.push(Op::Store {
                    commits: fewer,
                    times,
                });
            }
            simpler
        }
        Op::Start { .. } => vec![Op::Start {
            store: [Commit::Works; 2],
        }],
        Op::Crash { next } => {
            let simpler = simpler_nexts(next);
            simpler.into_iter().map(|next| Op::Crash { next }).collect()
        }
        Op::Shutdown { .. } => vec![Op::Shutdown { grace_ms: 0 }],
        Op::Restart { grace_ms, next } => {
            let restart = |next| Op::Restart { grace_ms, next };
            let mut simpler = vec![Op::Crash { next }];
            simpler.extend(simpler_nexts(next).into_iter().map(restart));
            simpler
        }
        _ => Vec::new(),
    }
}
