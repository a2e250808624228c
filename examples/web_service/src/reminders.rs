//! The reminders: their task, and the requests.

use std::collections::HashMap;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use jobber::storage::{Loaded, StorageError};
use jobber::{AnyJob, CancelOutcome, JobContext, JobId, Jobber, RegisterError};
use jobber::{ScheduleError, Task};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use trillium::{Conn, Handler, KnownHeaderName, State, Status};
use trillium_router::{Router, RouterConnExt};

/// The arguments of the task, as they are stored. A field that is added later needs
/// `#[serde(default)]`, so that it goes with what is stored already.
#[derive(Clone, Serialize, Deserialize)]
pub struct Reminder {
    text: String,
}

/// The body of a request for a new reminder.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewReminder {
    text: String,
    id: Option<String>,
    in_seconds: Option<u64>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    at: Option<OffsetDateTime>,
}

/// Registers the task that delivers a reminder when it is due. `deliver` may block.
pub fn register(
    app: &Jobber,
    deliver: impl Fn(&JobId, &str) + Send + Sync + 'static,
) -> Result<Task<Reminder, ()>, RegisterError> {
    let remind = move |cx: JobContext, reminder: Reminder| deliver(cx.id(), &reminder.text);
    app.blocking_task("remind", remind).durable().register()
}

/// What the requests share.
#[derive(Clone)]
pub struct Reminders {
    app: Jobber,
    task: Task<Reminder, ()>,
    read_store: Arc<ReadStore>,
}

/// Passes each record of the store to a function.
pub type ReadStore = dyn Fn(&mut dyn FnMut(Loaded)) -> Result<(), StorageError> + Send + Sync;

/// The body of a reply with its status. The status of `Err` is that of an error.
type Reply = Result<(Status, Value), Refusal>;

struct Refusal {
    status: Status,
    message: String,
}

impl Reminders {
    pub fn new(app: Jobber, task: Task<Reminder, ()>, read_store: Arc<ReadStore>) -> Self {
        Self {
            app,
            task,
            read_store,
        }
    }

    async fn create(&self, body: &str) -> Reply {
        let new: NewReminder = serde_json::from_str(body).map_err(bad_request)?;
        let mut schedule = self.task.schedule(Reminder { text: new.text });
        if let Some(id) = new.id {
            schedule = schedule.id(id);
        }
        let submit = match (new.in_seconds, new.at) {
            (Some(seconds), None) => schedule.delay(Duration::from_secs(seconds)),
            (None, Some(time)) => schedule.at(time),
            _ => return Err(bad_request("name either `in_seconds` or `at`")),
        };
        let job = submit.await?;
        // From here on the reminder is in the file.
        Ok((Status::Created, describe(job.as_any(), &HashMap::new())))
    }

    async fn list(&self) -> Reply {
        let texts = self.texts().await?;
        let mut jobs = self.app.jobs();
        jobs.retain(|job| job.task_name() == self.task.name());
        jobs.sort_by_cached_key(AnyJob::exec_at);
        let list = jobs.iter().map(|job| describe(job, &texts)).collect();
        Ok((Status::Ok, Value::Array(list)))
    }

    async fn show(&self, id: &str) -> Reply {
        let texts = self.texts().await?;
        let job = self.task.job(id).ok_or_else(|| not_found(id))?;
        Ok((Status::Ok, describe(job.as_any(), &texts)))
    }

    async fn cancel(&self, id: &str) -> Reply {
        let job = self.task.job(id).ok_or_else(|| not_found(id))?;
        let outcome = match job.cancel().await? {
            CancelOutcome::Cancelled => "cancelled",
            CancelOutcome::EndsAfterAttempt => "already running",
            _ => return Err(not_found(id)), // it has ended in this moment
        };
        Ok((Status::Ok, json!({ "id": id, "outcome": outcome })))
    }

    /// The texts of all reminders. A handle of a job does not return the job's arguments, and
    /// so this reads the whole store.
    async fn texts(&self) -> Result<HashMap<JobId, String>, StorageError> {
        let read_store = self.read_store.clone();
        smol::unblock(move || {
            let mut texts = HashMap::new();
            read_store(&mut |loaded| {
                if let Loaded::Job(job) = loaded
                    && let Ok(Reminder { text }) = serde_json::from_slice(job.args())
                {
                    texts.insert(job.id().clone(), text);
                }
            })?;
            Ok(texts)
        })
        .await
    }
}

fn describe(job: &AnyJob, texts: &HashMap<JobId, String>) -> Value {
    let mut description = json!({
        "id": job.id(),
        "due": job.exec_at().format(&Rfc3339).ok(), // it has years of four digits only
        "status": job.status().to_string(),
    });
    if let Some(text) = texts.get(job.id()) {
        description["text"] = json!(text);
    }
    description
}

fn bad_request(error: impl ToString) -> Refusal {
    Refusal {
        status: Status::BadRequest,
        message: error.to_string(),
    }
}

fn not_found(id: &str) -> Refusal {
    Refusal {
        status: Status::NotFound,
        message: format!("there is no reminder `{id}`"),
    }
}

impl From<ScheduleError> for Refusal {
    fn from(error: ScheduleError) -> Self {
        match error {
            ScheduleError::InvalidId { .. }
            | ScheduleError::DurationTooLong { .. }
            | ScheduleError::TimeOutOfRange { .. } => bad_request(error),
            ScheduleError::DuplicateJob { id, .. } | ScheduleError::UnresolvedJob { id } => Self {
                status: Status::Conflict,
                message: format!("there is another reminder `{id}`"),
            },
            ScheduleError::Storage(error) => error.into(),
            ScheduleError::Stopped | ScheduleError::TooManyJobs { .. } => {
                Self::of_server(Status::ServiceUnavailable, &error)
            }
            error => Self::of_server(Status::InternalServerError, &error),
        }
    }
}

impl From<StorageError> for Refusal {
    fn from(error: StorageError) -> Self {
        let status = match error {
            StorageError::TooLarge { .. } => Status::PayloadTooLarge,
            StorageError::Busy { .. }
            | StorageError::Full { .. }
            | StorageError::LogFull { .. }
            | StorageError::Closed => Status::ServiceUnavailable,
            _ => Status::InternalServerError,
        };
        Self::of_server(status, &error)
    }
}

impl Refusal {
    /// The operator reads the error. The client does not, because it names files.
    fn of_server(status: Status, error: &dyn Error) -> Self {
        let mut message = error.to_string();
        let mut source = error.source();
        while let Some(error) = source {
            message += &format!(": {error}");
            source = error.source();
        }
        eprintln!("{status}: {message}");
        Self {
            status,
            message: status.canonical_reason().into(),
        }
    }
}

/// The routes of the service.
pub fn routes(reminders: Reminders) -> impl Handler {
    let router = Router::new()
        .post("/reminders", async |mut conn: Conn| {
            let reply = match conn.request_body_string().await {
                Ok(body) => reminders_of(&conn).create(&body).await,
                Err(error @ trillium::Error::ReceivedBodyTooLong(_)) => Err(Refusal {
                    status: Status::PayloadTooLarge,
                    message: error.to_string(),
                }),
                Err(error) => Err(bad_request(error)),
            };
            respond(conn, reply)
        })
        .get("/reminders", async |conn: Conn| {
            let reply = reminders_of(&conn).list().await;
            respond(conn, reply)
        })
        .get("/reminders/:id", async |conn: Conn| {
            let reply = reminders_of(&conn).show(&id_of(&conn)).await;
            respond(conn, reply)
        })
        .delete("/reminders/:id", async |conn: Conn| {
            let reply = reminders_of(&conn).cancel(&id_of(&conn)).await;
            respond(conn, reply)
        });
    (State::new(reminders), router)
}

fn reminders_of(conn: &Conn) -> Reminders {
    let reminders = conn.state::<Reminders>().cloned();
    reminders.expect("`routes` sets the state")
}

/// The id in the path, where it is percent-encoded.
fn id_of(conn: &Conn) -> String {
    let id = percent_decode_str(conn.param("id").unwrap_or_default());
    id.decode_utf8_lossy().into_owned()
}

fn respond(conn: Conn, reply: Reply) -> Conn {
    let (status, body) = match reply {
        Ok(reply) => reply,
        Err(Refusal { status, message }) => (status, json!({ "error": message })),
    };
    conn.with_status(status)
        .with_response_header(KnownHeaderName::ContentType, "application/json")
        .with_body(body.to_string())
        .halt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    use jobber::storage::{MemoryStorage, Storage};
    use jobber::testing::{Fault, FaultyStorage, ManualClock, Operation, Simulation};
    use time::macros::datetime;
    use trillium_testing::TestConn;

    /// The service on virtual time, without a network.
    struct Service {
        sim: Simulation,
        routes: Routes,
        delivered: Arc<Mutex<Vec<String>>>,
        /// What is called during the next delivery.
        during: Arc<Mutex<Option<During>>>,
    }

    type Routes = Arc<dyn Fn(TestConn) -> TestConn + Send + Sync>;
    type During = Box<dyn FnOnce() + Send>;

    fn request(routes: &Routes, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut conn = routes(TestConn::build(method, path, body.to_owned()));
        let body = conn.take_response_body_string().unwrap_or_default();
        let status = conn.status().map_or(404, |status| status as u16);
        (status, serde_json::from_str(&body).unwrap_or_default())
    }

    impl Service {
        /// A process that finds what the last one has left in the store.
        fn start(store: &MemoryStorage, clock: ManualClock, fault: Option<StorageError>) -> Self {
            let faulty =
                FaultyStorage::new(store.clone(), move |operation| match (operation, &fault) {
                    (Operation::Commit(_), Some(error)) => Fault::FailWith(error.clone()),
                    _ => Fault::None,
                });
            let sim = Simulation::unstarted(0, clock, |app| app.storage(faulty)).unwrap();
            let delivered: Arc<Mutex<Vec<String>>> = Arc::default();
            let during: Arc<Mutex<Option<During>>> = Arc::default();
            let (log, hook) = (delivered.clone(), during.clone());
            let deliver = move |id: &JobId, text: &str| {
                log.lock().unwrap().push(format!("{id}: {text}"));
                let hook = hook.lock().unwrap().take();
                hook.into_iter().for_each(|hook| hook());
            };
            let task = register(sim.app(), deliver).unwrap();
            sim.app().start().block_on().unwrap();
            let store = store.clone();
            let read_store = Arc::new(move |each: &mut dyn FnMut(_)| store.clone().load(each));
            let routes = routes(Reminders::new(sim.app().clone(), task, read_store));
            let routes = Arc::new(move |conn: TestConn| conn.run(&routes));
            Self {
                sim,
                routes,
                delivered,
                during,
            }
        }

        fn new() -> Self {
            let clock = ManualClock::at(datetime!(2026-12-01 12:00 UTC));
            Self::start(&MemoryStorage::new(), clock, None)
        }

        fn request(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
            request(&self.routes, method, path, body)
        }

        fn create(&self, body: Value) -> (u16, Value) {
            self.request("POST", "/reminders", &body.to_string())
        }

        fn get(&self, path: &str) -> (u16, Value) {
            self.request("GET", path, "")
        }

        fn delivered(&self) -> Vec<String> {
            self.delivered.lock().unwrap().clone()
        }
    }

    #[test]
    fn a_reminder_is_listed_until_it_is_delivered() {
        let mut service = Service::new();
        let party = json!({ "text": "Party", "at": "2026-12-01T16:00:00+01:00", "id": "p" });
        let (status, party) = service.create(party);
        assert_eq!(status, 201);
        assert_eq!(party["due"], "2026-12-01T15:00:00Z");
        let (status, tea) = service.create(json!({ "text": "Tea", "in_seconds": 180 }));
        assert_eq!((status, &tea["status"]), (201, &json!("SCHEDULED")));

        let tea_is_due = json!({
            "id": tea["id"],
            "due": "2026-12-01T12:03:00Z",
            "status": "SCHEDULED",
            "text": "Tea",
        });
        let (status, list) = service.get("/reminders");
        assert_eq!((status, &list[0]), (200, &tea_is_due));
        assert_eq!(
            (&list[1]["id"], &list[1]["text"]),
            (&json!("p"), &json!("Party"))
        );
        let path = format!("/reminders/{}", tea["id"].as_str().unwrap());
        assert_eq!(service.get(&path), (200, tea_is_due));

        service.sim.advance(Duration::from_secs(179));
        assert!(service.delivered().is_empty());
        service.sim.advance(Duration::from_secs(1));
        assert!(service.delivered()[0].ends_with(": Tea"));
        assert_eq!(service.get(&path).0, 404);
        assert_eq!(service.get("/reminders").1[0]["id"], "p");
        service.sim.advance(Duration::from_secs(3 * 3_600));
        assert_eq!(service.delivered()[1..], ["p: Party"]);
        assert_eq!(service.get("/reminders"), (200, json!([])));
    }

    #[test]
    fn a_cancelled_reminder_is_not_delivered() {
        let mut service = Service::new();
        let id = "a/b c"; // it is one segment of the path, percent-encoded
        service.create(json!({ "text": "Tea", "in_seconds": 180, "id": id }));
        assert_eq!(service.get("/reminders/a%2Fb%20c").1["id"], id);
        let cancelled = json!({ "id": id, "outcome": "cancelled" });
        let cancel = |service: &Service| service.request("DELETE", "/reminders/a%2Fb%20c", "");
        assert_eq!(cancel(&service), (200, cancelled));
        assert_eq!(cancel(&service).0, 404);
        service.sim.advance(Duration::from_secs(3_600));
        assert!(service.delivered().is_empty());
    }

    #[test]
    fn a_cancel_during_the_delivery_says_that_it_is_running() {
        let mut service = Service::new();
        service.create(json!({ "text": "Tea", "in_seconds": 180, "id": "tea" }));
        let (routes, reply) = (service.routes.clone(), Arc::new(Mutex::new(None)));
        let cancelled = reply.clone();
        *service.during.lock().unwrap() = Some(Box::new(move || {
            *cancelled.lock().unwrap() = Some(request(&routes, "DELETE", "/reminders/tea", ""));
        }));
        service.sim.advance(Duration::from_secs(180));
        let running = json!({ "id": "tea", "outcome": "already running" });
        assert_eq!(*reply.lock().unwrap(), Some((200, running)));
        assert_eq!(service.delivered(), ["tea: Tea"]);
    }

    #[test]
    fn a_request_that_is_wrong_gets_the_rule_that_it_breaks() {
        let service = Service::new();
        let error = |body: Value| {
            let (status, reply) = service.create(body);
            (
                status,
                reply["error"].as_str().unwrap_or_default().to_owned(),
            )
        };
        for (body, rule) in [
            (json!({ "in_seconds": 1 }), "missing field `text`"),
            (
                json!({ "text": "Tea", "in_second": 1 }),
                "unknown field `in_second`",
            ),
            (json!({ "text": "Tea" }), "name either `in_seconds` or `at`"),
            (
                json!({ "text": "Tea", "in_seconds": -1 }),
                "invalid value: integer `-1`",
            ),
            (
                json!({ "text": "Tea", "in_seconds": u64::MAX }),
                "the delay 18446744073709551615s is too long",
            ),
            (
                json!({ "text": "Tea", "at": "9999-01-01T00:00:00Z" }),
                "must be between",
            ),
            (
                json!({ "text": "Tea", "at": "tomorrow" }),
                "the 'year' component could not be parsed",
            ),
            (
                json!({ "text": "Tea", "in_seconds": 1, "id": "" }),
                "the id is empty",
            ),
        ] {
            let (status, message) = error(body);
            assert_eq!(status, 400, "{message}");
            assert!(message.contains(rule), "{message}");
        }
        let tea = json!({ "text": "Tea", "in_seconds": 1, "id": "tea" });
        assert_eq!(error(tea.clone()), (201, "".into()));
        assert_eq!(error(tea), (409, "there is another reminder `tea`".into()));
        assert_eq!(service.get("/reminders").1.as_array().unwrap().len(), 1);
        assert_eq!(service.get("/reminders/nothing").0, 404);
    }

    #[test]
    fn a_store_that_is_busy_or_full_makes_the_service_unavailable() {
        let path = "reminders.db".into();
        let busy = StorageError::Busy {
            path: None,
            waited: Duration::ZERO,
        };
        for (error, status) in [
            (busy, 503),
            (StorageError::Full { path }, 503),
            (
                StorageError::TooLarge {
                    detail: "1 MB".into(),
                },
                413,
            ),
            (StorageError::other("unknown"), 500),
        ] {
            let store = MemoryStorage::new();
            let service = Service::start(&store, ManualClock::new(), Some(error));
            let (actual, reply) = service.create(json!({ "text": "Tea", "in_seconds": 1 }));
            assert_eq!(actual, status, "{reply}");
            assert_eq!(service.get("/reminders"), (200, json!([])));
        }
    }

    #[test]
    fn a_crash_loses_no_reminder() {
        let (store, clock) = (MemoryStorage::new(), ManualClock::new());
        let service = Service::start(&store, clock.clone(), None);
        service.create(json!({ "text": "Tea", "in_seconds": 180, "id": "tea" }));
        let before = service.get("/reminders/tea");
        service.sim.crash();

        let mut service = Service::start(&store, clock, None);
        assert_eq!(service.get("/reminders/tea"), before);
        service.sim.advance(Duration::from_secs(180));
        assert_eq!(service.delivered(), ["tea: Tea"]);
    }
}
