//! What a program was promised up to some moment, and whether a store keeps it.

use std::collections::BTreeMap;

use super::support::record::JobRecord;

/// What the stores were like.
#[derive(Debug, Default)]
pub struct Found {
    /// Jobs that were promised, and there.
    pub held: u64,
    /// Jobs that were seen done or cancelled, and not there.
    pub barred: u64,
    /// Stores that kept not all promises.
    pub broken: u64,
    /// Jobs that were promised, and not there, or as they were before a
    /// replacement.
    pub lost: u64,
    /// Jobs that were seen done or cancelled, and there.
    pub back: u64,
    /// Jobs that were to run at most once, had begun, and would run again.
    pub again: u64,
    /// Recurring jobs that are further behind than the run that had begun.
    pub behind: u64,
}

#[derive(Debug, Default)]
struct Known {
    /// The version of the arguments that was requested last.
    asked: u64,
    /// The one that was acknowledged last.
    promised: u64,
    /// Its last run that has begun.
    begun: u64,
    is_cancelling: bool,
    is_gone: bool,
}

#[derive(Debug, Default)]
pub struct Promises {
    jobs: BTreeMap<String, Known>,
    /// The jobs that stay, in the order in which each thread requested them.
    kept: BTreeMap<String, Vec<String>>,
}

impl Promises {
    /// What a store that was found like this promises: of all else, nothing is
    /// known any more, and so it can't come back.
    pub fn of(records: &BTreeMap<String, JobRecord>) -> Self {
        let mut promises = Self::default();
        for (id, record) in records {
            let version = record.args.parse().unwrap_or(0);
            let job = Known {
                asked: version,
                promised: version,
                // It had, and is not run again.
                begun: u64::from(record.progress.must_not_run_again()),
                ..Known::default()
            };
            promises.jobs.insert(id.clone(), job);
        }
        promises
    }

    pub fn hear(&mut self, mark: &[u8]) {
        let mark = String::from_utf8_lossy(mark);
        let mut words = mark.split_whitespace();
        let (Some(what), Some(id), Some(number)) = (words.next(), words.next(), words.next())
        else {
            return;
        };
        let number = number.parse().unwrap();
        let job = self.jobs.entry(id.into()).or_default();
        match what {
            "asks" => {
                job.asked = number;
                if let Some(name) = id.strip_prefix("keep-") {
                    let thread = name.split('-').next().unwrap().to_owned();
                    self.kept.entry(thread).or_default().push(id.into());
                }
            }
            "promised" => job.promised = number,
            "begins" => job.begun = number,
            "cancels" => job.is_cancelling = true,
            "gone" => job.is_gone = true,
            _ => panic!("unknown mark {mark}"),
        }
    }

    /// Counts the promises that are broken, and returns one of them. Fails at what no power
    /// cut may do, whatever was promised.
    pub fn compare(
        &self,
        records: &BTreeMap<String, JobRecord>,
        found: &mut Found,
    ) -> Result<Option<String>, String> {
        if let Some(id) = records.keys().find(|id| !self.jobs.contains_key(*id)) {
            return Err(format!("{id} is in the store, and was never requested"));
        }
        // The commits that are gone are the last ones.
        for kept in self.kept.values() {
            let is_there = |id: &String| records.contains_key(id);
            if !kept.iter().map(is_there).is_sorted_by(|a, b| a >= b) {
                return Err(format!("of {kept:?}, one is gone and a later one is not"));
            }
        }
        let mut broken = None;
        for (id, job) in &self.jobs {
            let record = records.get(id);
            let version = record.map(|record| record.args.parse().unwrap_or(u64::MAX));
            if version.is_some_and(|version| version == 0 || version > job.asked) {
                return Err(format!("{id}: {version:?} was never requested: {job:?}"));
            }
            let is_due = job.begun == 0 || id == "again";
            let is_promised = is_due && !job.is_cancelling && job.promised > 0;
            let would_run_again = record.is_some_and(|record| {
                id.starts_with("once") && job.begun > 0 && record.progress.start_intent.is_none()
            });
            let is_behind = record.is_some_and(|record| {
                let recurring = record.progress.recurring.as_ref();
                recurring.is_some_and(|recurring| recurring.runs + 1 < job.begun)
            });
            let count = match version {
                Some(_) if job.is_gone => &mut found.back,
                Some(_) if would_run_again => &mut found.again,
                Some(_) if is_behind => &mut found.behind,
                Some(version) if version < job.promised => &mut found.lost,
                None if is_promised => &mut found.lost,
                Some(_) => {
                    found.held += u64::from(is_promised);
                    continue;
                }
                None => {
                    found.barred += u64::from(job.is_gone);
                    continue;
                }
            };
            *count += 1;
            broken = Some(format!("{id}: {job:?}, and in the store is {record:?}"));
        }
        found.broken += u64::from(broken.is_some());
        Ok(broken)
    }
}
