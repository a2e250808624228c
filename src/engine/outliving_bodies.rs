//! [`OutlivingBodies`]: the bodies of attempts that have ended.

use crate::sync::primitives::{AtomicUsize, Mutex, Ordering, lock};
use crate::value::health::OutlivingBody;
use crate::value::id::JobId;

/// The bodies of attempts that have ended by a timeout or an abort: of an async task until its
/// executor drops it, of a blocking task until its function returns.
#[derive(Debug, Default)]
pub(crate) struct OutlivingBodies {
    bodies: Mutex<Vec<Body>>,
    /// The number of `bodies`, so that an ordinary attempt takes no lock.
    count: AtomicUsize,
}

#[derive(Debug)]
struct Body {
    /// [`Lifecycle::number`](crate::job::lifecycle::Lifecycle::number) of the attempt.
    number: u32,
    shown: OutlivingBody,
}

impl OutlivingBodies {
    /// An attempt ends while its body exists. The caller has the lock of the job.
    pub(crate) fn add(&self, number: u32, shown: OutlivingBody) {
        let mut bodies = lock(&self.bodies);
        bodies.push(Body { number, shown });
        self.count.store(bodies.len(), Ordering::SeqCst);
    }

    /// The body of an attempt is gone. The caller has the lock of the job.
    pub(crate) fn remove(&self, id: &JobId, number: u32) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let mut bodies = lock(&self.bodies);
        let is_this = |body: &Body| body.number == number && body.shown.id == *id;
        if let Some(place) = bodies.iter().position(is_this) {
            bodies.remove(place);
        }
        self.count.store(bodies.len(), Ordering::SeqCst);
    }

    /// All of them, the oldest first. No job of them waits, as far as this knows.
    pub(crate) fn all(&self) -> Vec<OutlivingBody> {
        let bodies = lock(&self.bodies);
        bodies.iter().map(|body| body.shown.clone()).collect()
    }
}
