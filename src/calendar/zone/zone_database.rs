//! [`ZoneDatabase`]: where the rules of named zones come from.

#[cfg(feature = "tz")]
use std::ffi::OsStr;
#[cfg(feature = "tz")]
use std::fs;
#[cfg(feature = "tz")]
use std::path::{Path, PathBuf};

#[cfg(feature = "tz")]
use crate::calendar::zone::name_hint::name_hint;
#[cfg(feature = "tz")]
use crate::calendar::zone::named_zone::NamedZone;
#[cfg(not(feature = "tz"))]
use crate::calendar::zone::named_zone_stub::NamedZone;
use crate::value::error::{ZoneError, ZoneHint};

/// A copy of the IANA time zone database.
///
/// The default is the copy that is [compiled in](Self::bundled): it is the same on all
/// machines, and it changes when the program is built again. The copy of the operating system
/// (`ZoneDatabase::system`) changes with the updates of the system, and may be years older or
/// newer.
///
/// `Zone::named_in` looks up a name in a database. The zone has the rules that the database had
/// then. It keeps its name, but not its database: two zones of the same name are equal, and a
/// store keeps only the name of the zone of a job. When an app loads a stored job, it looks up
/// this name in its own database: see
/// [`JobberBuilder::zone_database`](crate::JobberBuilder::zone_database).
///
/// Without the feature `tz`, the compiled-in database is empty, and no other can be read.
/// `UTC` is a zone in every database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ZoneDatabase(Source);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Source {
    #[default]
    Bundled,
    #[cfg(feature = "tz")]
    Directory(PathBuf),
}

/// Where operating systems keep their copy. Windows has none.
#[cfg(feature = "tz")]
const SYSTEM_DIRECTORIES: &[&str] = if cfg!(unix) {
    &[
        "/usr/share/zoneinfo",
        "/usr/share/lib/zoneinfo",
        "/etc/zoneinfo",
    ]
} else {
    &[]
};

impl ZoneDatabase {
    /// The database that is compiled into the program.
    #[must_use]
    pub const fn bundled() -> Self {
        Self(Source::Bundled)
    }

    /// The database of the operating system: the directory in the environment variable
    /// `TZDIR` or, if that is not set, the directory where the system keeps its zones, such as
    /// `/usr/share/zoneinfo`.
    ///
    /// # Errors
    ///
    /// Returns [`ZoneError::NoSystemDatabase`] if the system has no such directory, as on
    /// Windows and Android, and in containers without the package `tzdata`. Returns
    /// [`ZoneError::NoDatabase`] if `TZDIR` is not a directory.
    ///
    /// ```
    /// use jobber::{Zone, ZoneDatabase};
    ///
    /// // The copy that is compiled in, where the system has none.
    /// let database = ZoneDatabase::system().unwrap_or_default();
    /// let berlin = Zone::named_in("Europe/Berlin", &database)?;
    /// # Ok::<(), jobber::ZoneError>(())
    /// ```
    #[cfg(feature = "tz")]
    pub fn system() -> Result<Self, ZoneError> {
        Self::of_system(std::env::var_os("TZDIR").as_deref(), SYSTEM_DIRECTORIES)
    }

    #[cfg(feature = "tz")]
    fn of_system(tzdir: Option<&OsStr>, directories: &[&str]) -> Result<Self, ZoneError> {
        if let Some(tzdir) = tzdir.filter(|tzdir| !tzdir.is_empty()) {
            return Self::at(tzdir);
        }
        let found = directories.iter().find_map(|path| Self::at(path).ok());
        found.ok_or(ZoneError::NoSystemDatabase)
    }

    /// The database in a directory of compiled zone files, as `/usr/share/zoneinfo` is.
    ///
    /// A file is read when its zone is looked up.
    ///
    /// # Errors
    ///
    /// Returns [`ZoneError::NoDatabase`] if the path is not a directory.
    #[cfg(feature = "tz")]
    pub fn at(path: impl AsRef<Path>) -> Result<Self, ZoneError> {
        let path = path.as_ref();
        if path.is_dir() {
            Ok(Self(Source::Directory(path.to_owned())))
        } else {
            Err(ZoneError::NoDatabase { path: path.into() })
        }
    }

    /// Looks up a zone by its exact name.
    #[cfg(feature = "tz")]
    pub(crate) fn named_zone(&self, name: &str) -> Result<NamedZone, ZoneError> {
        let found = match &self.0 {
            Source::Bundled => NamedZone::bundled(name),
            Source::Directory(directory) => match zone_file(directory, name) {
                Some(file) => Some(read_zone(name, &file)?),
                None => None,
            },
        };
        found.ok_or_else(|| ZoneError::Unknown {
            name: name.to_owned(),
            hint: name_hint(name).filter(|hint| match hint {
                ZoneHint::SimilarName(similar) => self.has(similar),
                _ => true,
            }),
        })
    }

    #[cfg(not(feature = "tz"))]
    pub(crate) fn named_zone(&self, name: &str) -> Result<NamedZone, ZoneError> {
        Err(ZoneError::Unknown {
            name: name.to_owned(),
            hint: Some(ZoneHint::FeatureTz),
        })
    }

    #[cfg(feature = "tz")]
    fn has(&self, name: &str) -> bool {
        match &self.0 {
            Source::Bundled => true,
            Source::Directory(directory) => zone_file(directory, name).is_some(),
        }
    }
}

/// The file of a zone below a directory.
///
/// The parts of the name are compared with the names in the directories. So `..` and absolute
/// paths lead nowhere, and a file system that ignores case does not make another name of it.
#[cfg(feature = "tz")]
fn zone_file(directory: &Path, name: &str) -> Option<PathBuf> {
    let mut path = directory.to_owned();
    for part in name.split('/') {
        let mut entries = fs::read_dir(&path).ok()?.flatten();
        entries.find(|entry| entry.file_name() == part)?;
        path.push(part);
    }
    path.is_file().then_some(path)
}

#[cfg(feature = "tz")]
fn read_zone(name: &str, file: &Path) -> Result<NamedZone, ZoneError> {
    let data = fs::read(file).map_err(|error| error.to_string());
    data.and_then(|data| NamedZone::compiled(name, &data))
        .map_err(|reason| ZoneError::Unreadable {
            path: file.into(),
            reason,
        })
}

#[cfg(feature = "tz")]
#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::zone::time_zone::Zone;
    use time::macros::{datetime, offset};

    /// A zone file with a constant offset: the header of version 2 and later (RFC 8536), an
    /// empty version 1 block, one type of local time, and the rule for all times.
    fn zone_file_of(hours: i32) -> Vec<u8> {
        let header = |types: u8, characters: u8| {
            let mut header = b"TZif2".to_vec();
            header.extend([0; 15]);
            for count in [0, 0, 0, 0, types, characters] {
                header.extend([0, 0, 0, count]);
            }
            header
        };
        let local_time_type = |offset: i32| {
            let mut block = offset.to_be_bytes().to_vec();
            block.extend([0, 0]);
            block.extend(b"XXX\0");
            block
        };
        let mut data = header(1, 4);
        data.extend(local_time_type(0));
        data.extend(header(1, 4));
        data.extend(local_time_type(hours * 3600));
        data.extend(format!("\nXXX{}\n", -hours).bytes());
        data
    }

    /// A directory with the zones `Test/East` and `Europe/Berlin`, whose offset is wrong, and
    /// with a file that is not a zone.
    fn directory() -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (folder, file, data) in [
            ("Test", "East", zone_file_of(7)),
            ("Europe", "Berlin", zone_file_of(5)),
            (".", "zone.tab", b"# no zone".to_vec()),
        ] {
            let folder = directory.path().join(folder);
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(file), data).unwrap();
        }
        directory
    }

    #[test]
    fn a_name_has_the_rules_of_the_database_in_which_it_is_looked_up() {
        let directory = directory();
        let database = ZoneDatabase::at(directory.path()).unwrap();
        let time = datetime!(2026-07-01 12:00 UTC);
        let zone = |name| Zone::named_in(name, &database).unwrap();
        assert_eq!(zone("Test/East").offset_at(time), offset!(+7));
        assert_eq!(zone("Test/East").to_string(), "Test/East");
        assert_eq!(zone("Europe/Berlin").offset_at(time), offset!(+5));
        assert_eq!(zone("UTC"), Zone::UTC);
        let berlin = Zone::named("Europe/Berlin").unwrap();
        assert_eq!(berlin.offset_at(time), offset!(+2));
        // The zone goes over to another database by its name.
        let moved = berlin.in_database(&database).unwrap();
        assert_eq!((moved.offset_at(time), &moved), (offset!(+5), &berlin));
        assert_eq!(
            Zone::parse_in("Test/East", &database),
            Ok(zone("Test/East"))
        );
        assert!(Zone::parse("Test/East").is_err());
        let fixed = Zone::fixed(offset!(+1));
        assert_eq!(fixed.in_database(&database), Ok(fixed.clone()));
        assert_eq!(Zone::parse_in("+01:00", &database), Ok(fixed));
    }

    #[test]
    fn a_zone_keeps_its_rules_if_its_file_is_removed() {
        let directory = directory();
        let database = ZoneDatabase::at(directory.path()).unwrap();
        let zone = Zone::named_in("Test/East", &database).unwrap();
        drop(directory);
        let time = datetime!(2026-07-01 12:00 UTC);
        assert_eq!(zone.offset_at(time), offset!(+7));
        assert!(Zone::named_in("Test/East", &database).is_err());
    }

    #[test]
    fn a_name_that_a_database_lacks_is_unknown_and_leads_to_no_other_file() {
        let directory = directory();
        let inner = directory.path().join("Europe");
        for (path, name, suggestion) in [
            (directory.path(), "Europe/Paris", None),
            (directory.path(), "Europe/Berln", Some("Europe/Berlin")),
            (directory.path(), "europe/berlin", Some("Europe/Berlin")),
            (directory.path(), "Europe", None),
            (directory.path(), "", None),
            (directory.path(), "/", None),
            (directory.path(), "Test/East/", None),
            (directory.path(), "Test//East", None),
            (directory.path(), "Test/./East", None),
            (directory.path(), "Test/../Test/East", None),
            (inner.as_path(), "../Test/East", None),
            (inner.as_path(), "/etc/localtime", None),
        ] {
            let database = ZoneDatabase::at(path).unwrap();
            let expected = ZoneError::Unknown {
                name: name.into(),
                hint: suggestion.map(|name| ZoneHint::SimilarName(name.into())),
            };
            assert_eq!(Zone::named_in(name, &database), Err(expected), "{name}");
        }
    }

    #[test]
    fn a_file_that_is_not_a_zone_is_an_error_of_its_own() {
        let directory = directory();
        let database = ZoneDatabase::at(directory.path()).unwrap();
        let error = Zone::named_in("zone.tab", &database).unwrap_err();
        let ZoneError::Unreadable { path, .. } = &error else {
            panic!("{error:?}")
        };
        assert_eq!(*path, directory.path().join("zone.tab"));
        for length in [0, 4, 20, 43, 44, 50, 60, 100] {
            let data = &zone_file_of(7)[..length];
            fs::write(directory.path().join("zone.tab"), data).unwrap();
            assert!(Zone::named_in("zone.tab", &database).is_err(), "{length}");
        }
    }

    #[test]
    fn the_database_of_the_system_is_the_named_directory_or_the_first_that_exists() {
        let (one, other) = (directory(), directory());
        let path = |directory: &tempfile::TempDir| directory.path().to_str().unwrap().to_owned();
        let (one, other) = (path(&one), path(&other));
        let database = |path: &str| ZoneDatabase::at(path);
        let found = |tzdir: Option<&str>, directories: &[&str]| {
            ZoneDatabase::of_system(tzdir.map(OsStr::new), directories)
        };
        assert_eq!(found(None, &["/not/here", &one, &other]), database(&one));
        assert_eq!(found(Some(&other), &[&one]), database(&other));
        assert_eq!(found(Some(""), &[&one]), database(&one));
        let missing = |path: &str| Err(ZoneError::NoDatabase { path: path.into() });
        assert_eq!(found(Some("/not/here"), &[&one]), missing("/not/here"));
        let none = Err(ZoneError::NoSystemDatabase);
        assert_eq!(found(None, &["/not/here"]), none);
        assert_eq!(found(None, &[]), none);
        let file = format!("{one}/zone.tab");
        assert_eq!(database(&file), missing(&file));
    }
}
