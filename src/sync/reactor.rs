//! [`build`]: builds the reactor of async-io, which drives timers.
//!
//! The threads of the built-in pool drive it, too. async-io builds it when it is first used, and
//! panics if it cannot. So whatever uses it builds it here first, where a failure is an error.

use std::io;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::sync::panics::catch_panic;
use crate::sync::primitives::{Timer, thread};
use crate::sync::process::StartedBy;

static BUILT_BY: StartedBy = StartedBy::nobody();

/// Whether this process was forked from one that has a reactor. It has no thread for it, and
/// shares its descriptors.
pub(crate) fn is_forked() -> bool {
    BUILT_BY.is_forked()
}

/// Whether this process, or one that it was forked from, has built the reactor.
#[cfg(not(loom))]
pub(crate) fn is_built() -> bool {
    BUILT_BY.is_set()
}

/// Builds the reactor, if the process has none.
pub(crate) fn build() -> io::Result<()> {
    // The timers of a model need none.
    if cfg!(loom) || BUILT_BY.is_set() {
        return Ok(());
    }
    // It starts a thread and opens three descriptors. If it cannot open them, its thread
    // ends, and never comes back. So a thread is started here first, which ends at once, and
    // as many descriptors are opened and closed.
    let thread = thread::Builder::new().name("jobber-probe".into());
    let _ = thread.spawn(|| ())?.join();
    drop((io::pipe()?, io::pipe()?));
    // The first poll of a timer builds it.
    catch_panic(|| {
        let timer = pin!(Timer::after(Duration::from_secs(3_600)));
        let _ = timer.poll(&mut Context::from_waker(Waker::noop()));
    })
    .map_err(|message| io::Error::other(&*message))?;
    BUILT_BY.set();
    Ok(())
}
