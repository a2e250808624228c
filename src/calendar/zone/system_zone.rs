//! The name of the zone that a Unix system is set to.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

/// The name of the zone that the system is set to. `None` if it names none.
pub(super) fn system_zone_name() -> Option<String> {
    // jiff's own search does not read `/etc/timezone`, and keeps what it has found for five
    // minutes.
    name(
        std::env::var_os("TZ").as_deref(),
        Path::new("/etc/localtime"),
        Path::new("/etc/timezone"),
    )
}

/// The part of a path after which the name of a zone follows.
const DATABASE: &str = "zoneinfo/";

/// The name of the zone, by the settings of the system. `None` if they name none.
///
/// - `tz` is the environment variable `TZ`. If it is set, it decides, and an empty text
///   means UTC. It may be a name, or a path.
/// - `localtime` is a link to a file of the system's database.
/// - `timezone` is a file that contains the name.
///
/// Sources: POSIX, "Other Environment Variables" (`TZ`, also with a colon), and
/// localtime(5) of systemd. Debian has the file `/etc/timezone`.
fn name(tz: Option<&OsStr>, localtime: &Path, timezone: &Path) -> Option<String> {
    let Some(tz) = tz else {
        return linked(localtime).or_else(|| written(timezone));
    };
    let tz = tz.to_string_lossy();
    let tz = tz.strip_prefix(':').unwrap_or(&tz);
    if tz.is_empty() {
        return Some("UTC".into());
    }
    if let Some(name) = name_in_path(tz) {
        return Some(name);
    }
    if tz.starts_with('/') {
        return linked(Path::new(tz));
    }
    Some(tz.into())
}

fn name_in_path(path: &str) -> Option<String> {
    let (_, name) = path.rsplit_once(DATABASE)?;
    Some(name.into())
}

fn linked(path: &Path) -> Option<String> {
    name_in_path(fs::read_link(path).ok()?.to_str()?)
}

fn written(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let mut lines = text.lines().map(str::trim);
    let name = lines.find(|line| !line.is_empty() && !line.starts_with('#'))?;
    Some(name.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn tz_decides_if_it_is_set() {
        let directory = tempfile::tempdir().unwrap();
        let link = directory.path().join("link");
        symlink("../usr/share/zoneinfo/Asia/Tokyo", &link).unwrap();
        for (tz, expected) in [
            ("", Some("UTC")),
            (":", Some("UTC")),
            ("Europe/Berlin", Some("Europe/Berlin")),
            (":Europe/Berlin", Some("Europe/Berlin")),
            ("EST5EDT", Some("EST5EDT")),
            (
                "/usr/share/zoneinfo/America/Argentina/Salta",
                Some("America/Argentina/Salta"),
            ),
            (":/usr/share/zoneinfo/Etc/UTC", Some("Etc/UTC")),
            ("../zoneinfo/Etc/UTC", Some("Etc/UTC")),
            // A name that no database has. The look-up reports it.
            (
                "CET-1CEST,M3.5.0,M10.5.0/3",
                Some("CET-1CEST,M3.5.0,M10.5.0/3"),
            ),
            (link.to_str().unwrap(), Some("Asia/Tokyo")),
            ("/not/here", None),
        ] {
            let found = name(Some(OsStr::new(tz)), &link, Path::new("/not/here"));
            assert_eq!(found.as_deref(), expected, "{tz}");
        }
    }

    #[test]
    fn the_link_then_the_file_name_the_zone() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let (link, other_link, copy) = (path("link"), path("other"), path("copy"));
        symlink("/var/db/timezone/zoneinfo/Asia/Tokyo", &link).unwrap();
        symlink("/etc/passwd", &other_link).unwrap();
        fs::write(&copy, "TZif").unwrap();
        let (file, empty) = (path("timezone"), path("empty"));
        fs::write(&file, "\n# set by hand\n  Europe/Berlin \n").unwrap();
        fs::write(&empty, "\n").unwrap();
        let missing = path("missing");
        for (localtime, timezone, expected) in [
            (&link, &file, Some("Asia/Tokyo")),
            (&link, &missing, Some("Asia/Tokyo")),
            (&other_link, &file, Some("Europe/Berlin")),
            (&copy, &file, Some("Europe/Berlin")),
            (&missing, &file, Some("Europe/Berlin")),
            (&missing, &empty, None),
            (&copy, &missing, None),
            (&missing, &missing, None),
        ] {
            let found = name(None, localtime, timezone);
            assert_eq!(found.as_deref(), expected, "{localtime:?} {timezone:?}");
        }
    }
}
