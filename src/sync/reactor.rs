//! [`build`]: builds the reactor of async-io, which drives timers.
//!
//! The threads of the built-in pool drive it, too. async-io builds it when it is first used, and panics if it cannot. So whatever uses it
//! builds it here first, where a failure is an error.

use std::io;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use crate::sync::panics::catch_panic;
use crate::sync::primitives::Timer;

/// Builds the reactor, if the process has none.
pub(crate) fn build() -> io::Result<()> {
    if cfg!(loom) {
        // The timers of a model need none.
        return Ok(());
    }
    // It opens three descriptors. If it cannot, its thread ends as well, and never comes
    // back. So as many are opened here first.
    let pipes = (io::pipe()?, io::pipe()?);
    drop(pipes);
    // The first poll of a timer builds it.
    catch_panic(|| {
        let timer = pin!(Timer::after(Duration::from_secs(3_600)));
        let _ = timer.poll(&mut Context::from_waker(Waker::noop()));
    })
    .map_err(|message| io::Error::other(&*message))
}
