//! Polls 500 feeds on smol: each is a recurring job with an id, jitter, retries and a limit of
//! failures. A feed that is busy (429) says when to try again; a feed that is gone (410) ends.
//! `cargo run --example feed_poller`, and its tests: `cargo test --example feed_poller`
//!
//! The demo simulates the servers. To poll real feeds, pass a function to `register` that makes
//! a request with your HTTP client.

use std::error::Error;
use std::future::Future;
use std::time::Duration;

use jobber::{Backoff, BoxError, Event, Events, Job, JobContext, JobEventKind, JobStatus};
use jobber::{Jobber, Misfire, NoRetry, RegisterError, RetryAfter, ScheduleError, Task};
use smol::Timer;
use smol::stream::StreamExt;

/// What a server has answered.
struct Response {
    status: u16,
    /// The header of this name, for 429.
    retry_after: Option<Duration>,
    body: String,
}

/// Polls a feed, and returns how many bytes it has.
type Poll = Task<String, usize>;

/// Registers the task that polls a feed. `fetch` gets the feed's URL.
fn register<F>(
    app: &Jobber,
    fetch: impl Fn(String) -> F + Send + Sync + 'static,
) -> Result<Poll, RegisterError>
where
    F: Future<Output = Result<Response, BoxError>> + Send + 'static,
{
    let poll = move |cx: JobContext, url: String| {
        let response = fetch(url);
        async move {
            let response = response.await?;
            match response.status {
                200 => Ok(response.body.len()),
                // It counts as one of the retries. If none is left, the next run comes at its time.
                429 => match response.retry_after {
                    Some(delay) => Err(RetryAfter::new(delay).into()),
                    None => Err("429, and no time to wait".into()),
                },
                410 => {
                    let own: Poll = cx.app().task("poll")?;
                    if let Some(job) = own.job(cx.id()) {
                        job.cancel().await?; // no retry and no other run follows
                    }
                    Err("410, the feed is gone".into())
                }
                // It ends this run, and not the job: the next run comes at its time.
                status @ 400..500 => Err(NoRetry::new(format!("status {status}")).into()),
                status => Err::<_, BoxError>(format!("status {status}").into()),
            }
        }
    };
    app.task("poll", poll)
        .timeout(Duration::from_secs(30))
        .retry(Backoff::exponential(3))
        .register()
}

/// Schedules a feed. With its URL as the id, it can't be polled twice.
async fn poll_every(
    poll: &Poll,
    url: String,
    interval: Duration,
) -> Result<Job<usize>, ScheduleError> {
    poll.schedule(url.clone())
        .id(url)
        // Each poll is late by a random part of this: they do not all come at once.
        .jitter(interval / 2)
        // The times that pass during a long retry are left out.
        .misfire(Misfire::Skip)
        // After 100 failed runs in a row, the feed is given up.
        .max_failures(100)
        .every(interval)
        .await
}

fn main() -> Result<(), Box<dyn Error>> {
    smol::block_on(async {
        let app = Jobber::builder()
            .executor(|job| smol::spawn(job).detach())
            .build()?;
        let poll = register(&app, fetch_simulated)?;
        let log = smol::spawn(log(app.events()));
        app.start().await?;
        for n in 0..500 {
            let url = format!("https://example.org/feed/{n}");
            poll_every(&poll, url, Duration::from_secs(1)).await?;
        }

        Timer::after(Duration::from_secs(4)).await;
        let left = app.jobs().len();
        app.shutdown(Duration::from_secs(5)).await;
        println!("{} feeds were polled, {left} are left", log.await);
        Ok(())
    })
}

/// Answers as the internet does: some servers are slow, busy, down or gone.
async fn fetch_simulated(url: String) -> Result<Response, BoxError> {
    let n: u32 = url.rsplit('/').next().unwrap_or_default().parse()?;
    Timer::after(Duration::from_millis(u64::from(n % 50))).await;
    let (status, retry_after) = match n % 100 {
        11 => (410, None),
        22 => (429, Some(Duration::from_secs(2))),
        33 => (503, None),
        44 => (404, None),
        55 => return Err("the connection was refused".into()),
        _ => (200, None),
    };
    Ok(Response {
        status,
        retry_after,
        body: "<feed/>".into(),
    })
}

/// Prints what goes wrong, a line for each event, until the app has stopped. Returns the
/// number of good polls.
async fn log(mut events: Events) -> usize {
    let mut good = 0;
    while let Some(event) = events.next().await {
        let Event::Job(event) = event else {
            println!("{event}");
            continue;
        };
        match event.kind {
            JobEventKind::RunEnded(run) if run.status == JobStatus::Success => good += 1,
            JobEventKind::Scheduled { .. } | JobEventKind::Started { .. } => {}
            // The shutdown cancels all jobs.
            JobEventKind::Cancelled => {}
            _ => println!("{event}"),
        }
    }
    good
}

/// The same tasks on virtual time: hours take milliseconds, and no network is needed.
#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    use jobber::testing::Simulation;

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: Duration = Duration::from_secs(3_600);
    const INTERVAL: Duration = Duration::from_secs(15 * 60);

    /// When each feed was polled.
    type Polls = Arc<Mutex<Vec<(Duration, String)>>>;

    /// The app, with servers that answer as the function says. It gets the time.
    fn start(
        answer: impl Fn(Duration) -> Result<Response, BoxError> + Send + Sync + 'static,
    ) -> (Simulation, Poll, Polls) {
        let sim = Simulation::new();
        let (clock, polls) = (sim.clock(), Polls::default());
        let log = polls.clone();
        let fetch = move |url| {
            log.lock().unwrap().push((clock.elapsed(), url));
            let response = answer(clock.elapsed());
            async { response }
        };
        let poll = register(sim.app(), fetch).unwrap();
        (sim, poll, polls)
    }

    fn schedule(poll: &Poll, url: &str, interval: Duration) -> Job<usize> {
        smol::block_on(poll_every(poll, url.into(), interval)).unwrap()
    }

    fn response(status: u16, retry_after: Option<Duration>) -> Result<Response, BoxError> {
        Ok(Response {
            status,
            retry_after,
            body: String::new(),
        })
    }

    fn times(polls: &Polls, of: &str) -> Vec<Duration> {
        let polls = polls.lock().unwrap();
        let of_feed = polls.iter().filter(|(_, url)| url == of);
        of_feed.map(|(at, _)| *at).collect()
    }

    /// How many polls the busiest minute of a time has.
    fn busiest_minute(polls: &Polls, from: Duration, to: Duration) -> usize {
        let polls = polls.lock().unwrap();
        let begins = (from.as_secs()..=(to - MINUTE).as_secs()).map(Duration::from_secs);
        let in_minute = |begin| {
            let minute = begin..begin + MINUTE;
            polls.iter().filter(|(at, _)| minute.contains(at)).count()
        };
        begins.step_by(10).map(in_minute).max().unwrap()
    }

    #[test]
    fn each_feed_is_polled_at_its_rate() {
        let (mut sim, poll, polls) = start(|_| response(200, None));
        schedule(&poll, "often", 10 * MINUTE);
        schedule(&poll, "seldom", HOUR);
        sim.advance(24 * HOUR);
        for (url, interval, count) in [("often", 10 * MINUTE, 143), ("seldom", HOUR, 23)] {
            let times = times(&polls, url);
            // The last one may be late by its jitter.
            assert!((count..=count + 1).contains(&times.len()), "{times:?}");
            for (due, at) in (1..).map(|n| n * interval).zip(times) {
                assert!((due..=due + interval / 2).contains(&at), "{due:?}: {at:?}");
            }
        }
    }

    #[test]
    fn a_feed_is_in_the_list_once() {
        let (_sim, poll, _) = start(|_| response(200, None));
        schedule(&poll, "feed", INTERVAL);
        let again = smol::block_on(poll_every(&poll, "feed".into(), INTERVAL));
        assert!(matches!(again, Err(ScheduleError::DuplicateJob { .. })));
    }

    #[test]
    fn a_feed_that_is_busy_is_left_alone_for_as_long_as_it_says() {
        let wait = 2 * HOUR + 5 * MINUTE;
        let (mut sim, poll, polls) = start(move |now| match now < HOUR {
            true => response(429, Some(wait)),
            false => response(200, None),
        });
        schedule(&poll, "feed", INTERVAL);
        sim.advance(4 * HOUR);
        let times = times(&polls, "feed");
        assert_eq!(times[1], times[0] + wait);
        // The times that it missed meanwhile are skipped: the next one is regular.
        let due = INTERVAL * (times[1].as_secs() / INTERVAL.as_secs() + 1) as u32;
        assert!((due..=due + INTERVAL / 2).contains(&times[2]), "{times:?}");
    }

    #[test]
    fn a_feed_that_is_gone_ends() {
        let (mut sim, poll, polls) = start(|_| response(410, None));
        let job = schedule(&poll, "feed", INTERVAL);
        sim.advance(24 * HOUR);
        assert_eq!(times(&polls, "feed").len(), 1);
        assert_eq!(job.status(), JobStatus::Cancelled);
        assert!(sim.app().jobs().is_empty());
    }

    #[test]
    fn a_feed_that_refuses_is_polled_at_its_rate_without_retries() {
        let (mut sim, poll, polls) = start(|_| response(403, None));
        schedule(&poll, "feed", INTERVAL);
        sim.advance(INTERVAL * 10 + INTERVAL / 2);
        assert_eq!(times(&polls, "feed").len(), 10);
    }

    #[test]
    fn a_feed_that_fails_for_long_is_given_up() {
        let (mut sim, poll, polls) = start(|_| response(500, None));
        let job = schedule(&poll, "feed", INTERVAL);
        sim.advance(INTERVAL * 102);
        assert_eq!(job.status(), JobStatus::PermanentlyFailed);
        assert_eq!(
            times(&polls, "feed").len(),
            100 * 4,
            "with three retries each"
        );
    }

    #[test]
    fn an_outage_of_an_hour_is_survived_and_the_polls_stay_spread() {
        let outage = 2 * HOUR..3 * HOUR;
        let down = outage.clone();
        let (mut sim, poll, polls) = start(move |now| match down.contains(&now) {
            true => Err("the network is down".into()),
            false => response(200, None),
        });
        let jobs: Vec<_> = (0..500)
            .map(|n| schedule(&poll, &n.to_string(), INTERVAL))
            .collect();
        sim.advance(5 * HOUR);
        for job in &jobs {
            assert_eq!(job.last_run().unwrap().status, JobStatus::Success);
            let times = times(&polls, job.id().to_string().as_str());
            let (begin, end) = (outage.end, outage.end + INTERVAL + INTERVAL / 2);
            assert!(times.iter().any(|at| (begin..end).contains(at)));
        }
        // 500 polls in half an interval are 67 in a minute. In the outage there are four for one.
        assert!(busiest_minute(&polls, Duration::ZERO, outage.start) < 100);
        assert!(busiest_minute(&polls, outage.start, outage.end) < 4 * 100);
        assert!(busiest_minute(&polls, outage.end + MINUTE, 5 * HOUR) < 100);
    }
}
