//! Tests of programs that use jobber: move the clock by hand, and run a whole app without
//! threads.
//!
//! [`Simulation`] is an app whose clock stands still until
//! [`advance`](Simulation::advance) moves it, from one due time to the next. A month takes
//! milliseconds, and every run is the same. [`ManualClock`] is its clock, which an app
//! with real threads can have too. [`FaultyStorage`] is a store that fails on demand, and
//! [`storage_conformance`] checks a store of your own.
//!
//! A test of a program's own schedule:
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use std::time::Duration;
//! use jobber::{Backoff, testing::Simulation};
//!
//! // What is tested: a feed is polled every 15 seconds, and retried after a second
//! // when the network is down.
//! fn poll_feed(
//!     app: &jobber::Jobber,
//!     fetch: impl Fn() -> Result<(), String> + Send + Sync + Clone + 'static,
//! ) -> jobber::Job<()> {
//!     let poll = app
//!         .task("poll", move || { let fetch = fetch.clone(); async move { fetch() } })
//!         .retry(Backoff::fixed(2, Duration::from_secs(1)))
//!         .register()
//!         .unwrap();
//!     poll.schedule(()).every(Duration::from_secs(15)).block_on().unwrap()
//! }
//!
//! let mut sim = Simulation::new();
//! let start = sim.elapsed();
//! let polls = Arc::new(Mutex::new(Vec::new()));
//! let job = poll_feed(sim.app(), {
//!     let (polls, clock) = (polls.clone(), sim.clock());
//!     move || {
//!         polls.lock().unwrap().push(clock.elapsed().as_secs());
//!         // The network is down from the 30th second to the 32nd.
//!         if (30..32).contains(&clock.elapsed().as_secs()) { Err("down".into()) } else { Ok(()) }
//!     }
//! });
//! sim.advance(Duration::from_secs(60));
//! assert_eq!(*polls.lock().unwrap(), [15, 30, 31, 32, 45, 60]);
//! assert_eq!(job.last_run().unwrap().number, 4);
//! ```

pub(crate) mod conformance;
pub(crate) mod faulty;
pub(crate) mod inline_executor;
pub(crate) mod manual_clock;
pub(crate) mod simulation;

pub use self::conformance::storage_conformance;
pub use self::faulty::{Fault, FaultyStorage, Operation};
pub use self::manual_clock::{ManualClock, Sleep};
pub use self::simulation::Simulation;
