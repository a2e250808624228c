//! A zone database with other rules: each name has the rules of another zone.

use jobber::ZoneDatabase;
use tempfile::TempDir;

use super::cron::{changes_of, number};
use super::program::Start;
use super::zone_file::zone_file;

/// Returns the zone whose rules a process uses for the zone of this name. (`Start` names both a
/// zone and one of its clock changes.)
pub fn ruled(name: Start, has_other_rules: bool) -> Start {
    match (name, has_other_rules) {
        (name, false) | (name @ Start::Plain, true) => name,
        (Start::BerlinForward | Start::BerlinBack, true) => Start::LordHoweBack,
        (Start::LordHoweBack, true) => Start::ChicagoForward,
        (Start::ChicagoForward, true) => Start::BerlinForward,
    }
}

/// The database of a process with other rules.
pub fn database() -> ZoneDatabase {
    thread_local! {
        static DIRECTORY: TempDir = write().expect("the temporary folder can be written");
    }
    DIRECTORY.with(|directory| ZoneDatabase::at(directory.path()).expect("it was written"))
}

fn write() -> std::io::Result<TempDir> {
    let directory = tempfile::tempdir()?;
    for (folder, name, start) in [
        ("Europe", "Berlin", Start::BerlinForward),
        ("Australia", "Lord_Howe", Start::LordHoweBack),
        ("America", "Chicago", Start::ChicagoForward),
    ] {
        let folder = directory.path().join(folder);
        std::fs::create_dir(&folder)?;
        let (first, changes) = changes_of(number(ruled(start, true)));
        std::fs::write(folder.join(name), zone_file(first, changes, ""))?;
    }
    Ok(directory)
}
