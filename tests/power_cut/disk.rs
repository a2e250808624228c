//! The disk that a journal tells of: what is on it for certain, and what may be.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Error, ErrorKind, Result};
use std::path::Path;
use std::{fmt, fs};

use fastrand::Rng;

/// The file that a program writes its marks into, a line each: no part of the
/// disk, but of the journal, so that they are in order with all else.
pub const MARKS: &str = "marks";

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// What the shim noted.
pub enum Event {
    Open(i32, u64, String),
    Write(i32, usize, Vec<u8>),
    Truncate(i32, usize),
    Sync(i32),
    Unlink(String),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Event::Open(fd, _, name) => write!(f, "open {name} as {fd}"),
            Event::Write(fd, at, data) => write!(f, "write {} at {at} to {fd}", data.len()),
            Event::Truncate(fd, length) => write!(f, "truncate {fd} to {length}"),
            Event::Sync(fd) => write!(f, "sync {fd}"),
            Event::Unlink(name) => write!(f, "unlink {name}"),
        }
    }
}

pub fn read_journal(path: &Path) -> Result<Vec<Event>> {
    let journal = fs::read(path)?;
    let mut rest = &journal[..];
    let mut events = Vec::new();
    while let Some((head, after)) = rest.split_first_chunk::<24>() {
        let number = |at: usize| u64::from_ne_bytes(head[at..at + 8].try_into().unwrap());
        let small = |at: usize| u32::from_ne_bytes(head[at..at + 4].try_into().unwrap());
        let (fd, at) = (small(4) as i32, number(8));
        let (data, after) = after.split_at(number(16) as usize);
        let text = || String::from_utf8_lossy(data).into_owned();
        events.push(match small(0) {
            1 => Event::Open(fd, at, text()),
            2 => Event::Write(fd, at as usize, data.to_vec()),
            3 => Event::Truncate(fd, at as usize),
            4 => Event::Sync(fd),
            5 => Event::Unlink(text()),
            _ => return Err(Error::new(ErrorKind::InvalidData, "no such entry")),
        });
        rest = after;
    }
    Ok(events)
}

/// How often SQLite's log was begun, or begun anew after a checkpoint.
pub fn logs_begun(events: &[Event]) -> usize {
    let mut logs = BTreeSet::new();
    let mut begun = 0;
    for event in events {
        match event {
            Event::Open(fd, _, name) if name.ends_with("-wal") => drop(logs.insert(*fd)),
            Event::Open(fd, ..) => drop(logs.remove(fd)),
            Event::Write(fd, 0, _) if logs.contains(fd) => begun += 1,
            _ => {}
        }
    }
    begun
}

/// A thing as it is for the program, and all that it was since it was last
/// synced, each with the time of the event that ended it. Any of these may be
/// what the disk has.
#[derive(Clone, Debug)]
struct History<T> {
    now: T,
    before: Vec<(u64, T)>,
}

impl<T> History<T> {
    /// Of a thing that the disk has like this.
    fn new(now: T) -> Self {
        let before = Vec::new();
        Self { now, before }
    }

    fn set(&mut self, at: u64, new: T) {
        self.before
            .push((at, std::mem::replace(&mut self.now, new)));
    }

    /// A state that the thing had before the event `limit`, by its index.
    fn pick(&self, fate: Fate, limit: u64, rng: &mut Rng) -> usize {
        let newer = match fate {
            Fate::UpTo(end) => {
                let done = self.before.partition_point(|(at, _)| *at < end);
                match self.before.get(done) {
                    // Torn: the disk was about to write this one.
                    Some((at, _)) if *at == end => done + rng.usize(..2),
                    _ => done,
                }
            }
            Fate::Any(newest) if rng.u8(..) < newest => self.before.len(),
            Fate::Any(_) => rng.usize(..=self.before.len()),
        };
        newer.min(self.before.partition_point(|(at, _)| *at < limit))
    }

    fn state(&self, index: usize) -> &T {
        self.before.get(index).map_or(&self.now, |(_, state)| state)
    }
}

/// What became of that which was not synced.
#[derive(Clone, Copy, Debug)]
enum Fate {
    /// It was written in order, up to this event, which may be torn.
    UpTo(u64),
    /// Each part by itself is in any state that it had; out of 256, this many
    /// are in the newest one.
    Any(u8),
}

impl Fate {
    fn draw(now: u64, rng: &mut Rng) -> Self {
        match rng.u8(..8) {
            0 => Fate::UpTo(0),
            1 => Fate::UpTo(now + 1),
            // A few events back, or many.
            2 | 3 => {
                let most = 1 << rng.u8(..10);
                Fate::UpTo(now.saturating_sub(rng.u64(..most)))
            }
            _ => Fate::Any(*rng.choice(&[0, 64, 128, 200, 250]).unwrap()),
        }
    }
}

type Sector = Option<Box<[u8; SECTOR]>>;

#[derive(Debug)]
struct File {
    length: History<usize>,
    /// `None`: not in the file.
    sectors: Vec<History<Sector>>,
    unsynced: BTreeSet<usize>,
}

impl File {
    fn new() -> Self {
        Self {
            length: History::new(0),
            sectors: Vec::new(),
            unsynced: BTreeSet::new(),
        }
    }

    fn set_length(&mut self, at: u64, new: usize) {
        let old = self.length.now;
        if new == old {
            return;
        }
        self.length.set(at, new);
        for number in new.min(old) / SECTOR..new.max(old).div_ceil(SECTOR) {
            if number * SECTOR >= new {
                self.change(at, number, |_| None);
            } else {
                let kept = new.min(old).saturating_sub(number * SECTOR).min(SECTOR);
                self.change(at, number, |mut bytes| {
                    bytes[kept..].fill(0);
                    Some(bytes)
                });
            }
        }
    }

    fn change(&mut self, at: u64, number: usize, change: impl FnOnce(Box<[u8; SECTOR]>) -> Sector) {
        while self.sectors.len() <= number {
            self.sectors.push(History::new(None));
        }
        let sector = &mut self.sectors[number];
        let bytes = sector.now.clone();
        sector.set(at, change(bytes.unwrap_or_else(|| Box::new([0; SECTOR]))));
        self.unsynced.insert(number);
    }

    fn write(&mut self, at: u64, offset: usize, data: &[u8]) {
        let end = offset + data.len();
        if end > self.length.now {
            self.set_length(at, end);
        }
        for number in offset / SECTOR..end.div_ceil(SECTOR) {
            let start = number * SECTOR;
            let (from, to) = (offset.max(start), end.min(start + SECTOR));
            self.change(at, number, |mut bytes| {
                bytes[from - start..to - start].copy_from_slice(&data[from - offset..to - offset]);
                Some(bytes)
            });
        }
    }

    fn sync(&mut self) {
        self.length.before.clear();
        for number in std::mem::take(&mut self.unsynced) {
            self.sectors[number].before.clear();
        }
    }

    /// The event that has truncated the file before this sector, after it had the picked length.
    ///
    /// A file system logs a truncation as a whole, and SQLite relies on that: as long as the disk
    /// has the old length, it has the old sectors, too, and what was written later is elsewhere.
    fn cut_at(&self, number: usize, picked: usize) -> u64 {
        let changes = self.length.before.iter().enumerate().skip(picked);
        let mut cuts = changes
            .filter(|(index, _)| *self.length.state(index + 1) <= number * SECTOR)
            .map(|(_, (at, _))| *at);
        cuts.next().unwrap_or(u64::MAX)
    }

    fn image(&self, fate: Fate, is_noisy: bool, rng: &mut Rng) -> Vec<u8> {
        let picked = self.length.pick(fate, u64::MAX, rng);
        let mut bytes = vec![0; *self.length.state(picked)];
        for (number, part) in bytes.chunks_mut(SECTOR).enumerate() {
            let sector = self.sectors.get(number);
            let cut_at = self.cut_at(number, picked);
            match sector.map(|sector| sector.state(sector.pick(fate, cut_at, rng))) {
                Some(Some(sector)) => part.copy_from_slice(&sector[..part.len()]),
                // The file is longer already, and what was on the disk before is
                // not overwritten.
                _ if is_noisy => rng.fill(part),
                _ => {}
            }
        }
        bytes
    }
}

/// What a file descriptor stands for.
#[derive(Clone, Copy, Debug)]
enum Target {
    Folder,
    Marks,
    /// What the processes share. The first process creates it.
    Memory,
    File(usize),
}

/// Files by their names.
pub type Folder = BTreeMap<String, Vec<u8>>;

#[derive(Debug, Default)]
pub struct Disk {
    /// How many events there were.
    pub now: u64,
    names: BTreeMap<String, History<Option<usize>>>,
    files: Vec<File>,
    open: BTreeMap<i32, Target>,
}

impl Disk {
    /// One that has these files for certain.
    pub fn with(files: &Folder) -> Self {
        let mut disk = Self::default();
        for (name, bytes) in files {
            let entry = History::new(Some(disk.files.len()));
            disk.names.insert(name.clone(), entry);
            let mut file = File::new();
            file.write(0, 0, bytes);
            file.sync();
            disk.files.push(file);
        }
        disk
    }

    /// Applies one event of the program and returns its marks.
    pub fn apply<'a>(&mut self, event: &'a Event) -> &'a [u8] {
        self.now += 1;
        let now = self.now;
        match event {
            Event::Open(fd, flags, name) => {
                let target = match name.as_str() {
                    "" => Target::Folder,
                    MARKS => Target::Marks,
                    name if name.ends_with("-shm") => Target::Memory,
                    name => Target::File(self.open_file(name, *flags)),
                };
                self.open.insert(*fd, target);
            }
            Event::Write(fd, offset, data) => match self.open[fd] {
                Target::Marks => return data,
                Target::File(file) => self.files[file].write(now, *offset, data),
                Target::Folder | Target::Memory => {}
            },
            Event::Truncate(fd, length) => {
                if let Target::File(file) = self.open[fd] {
                    self.files[file].set_length(now, *length);
                }
            }
            Event::Sync(fd) => match self.open[fd] {
                Target::File(file) => self.files[file].sync(),
                Target::Folder => self.names.values_mut().for_each(|name| name.before.clear()),
                Target::Marks | Target::Memory => {}
            },
            Event::Unlink(name) => {
                if let Some(entry) = self.names.get_mut(name) {
                    entry.set(now, None);
                }
            }
        }
        &[]
    }

    fn open_file(&mut self, name: &str, flags: u64) -> usize {
        const O_TRUNC: u64 = 0o1000;
        let now = self.now;
        let entry = self.names.entry(name.into());
        let entry = entry.or_insert_with(|| History::new(None));
        if let Some(file) = entry.now {
            if flags & O_TRUNC != 0 {
                self.files[file].set_length(now, 0);
            }
            return file;
        }
        let file = self.files.len();
        self.files.push(File::new());
        entry.set(now, Some(file));
        file
    }

    /// A folder such as this disk may hold if the power fails now.
    pub fn image(&self, rng: &mut Rng) -> Folder {
        // All up to one moment, or each for itself.
        let common = Fate::draw(self.now, rng);
        let common = rng.bool().then_some(common);
        let fate = |rng: &mut Rng| common.unwrap_or_else(|| Fate::draw(self.now, rng));
        let folder = fate(rng);
        let is_noisy = rng.u8(..4) == 0;
        let mut image = BTreeMap::new();
        for (name, entry) in &self.names {
            if let Some(file) = *entry.state(entry.pick(folder, u64::MAX, rng)) {
                let bytes = self.files[file].image(fate(rng), is_noisy, rng);
                image.insert(name.clone(), bytes);
            }
        }
        image
    }

    /// The folder as the program sees it.
    pub fn seen(&self) -> Folder {
        let everything = Fate::UpTo(self.now + 1);
        let mut rng = Rng::with_seed(0);
        let files = self.names.iter().filter_map(|(name, entry)| {
            let bytes = self.files[entry.now?].image(everything, false, &mut rng);
            Some((name.clone(), bytes))
        });
        files.collect()
    }
}
