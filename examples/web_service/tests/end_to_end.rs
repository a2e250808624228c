//! The real program, with a network, a file and signals.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

/// A process of the service. It is killed when this value is dropped.
struct Service {
    process: Child,
    lines: BufReader<ChildStdout>,
    address: String,
}

impl Service {
    /// Starts the program on a free port, and waits until it listens.
    fn start(file: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_web_service"))
            .args([file.as_os_str(), "127.0.0.1:0".as_ref()])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let address = line.strip_prefix("listening on ").expect(&line);
        let address = address.trim_end().to_owned();
        Self {
            process,
            lines,
            address,
        }
    }

    /// The next line that the program prints.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Sends the head of a request for a new reminder, and waits until the service reads the body.
    fn begin_create(&self, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let head = format!(
            "POST /reminders HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\
             Expect: 100-continue\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut reply = [0; 12];
        stream.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"HTTP/1.1 100");
        stream
    }

    fn request(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all((head + body).as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        let (head, body) = reply.split_once("\r\n\r\n").expect(&reply);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_str(body).expect(body))
    }

    fn create(&self, body: Value) -> (u16, Value) {
        self.request("POST", "/reminders", &body.to_string())
    }

    fn ids(&self) -> Vec<Value> {
        let (_, list) = self.request("GET", "/reminders", "");
        let list = list.as_array().unwrap();
        list.iter().map(|reminder| reminder["id"].clone()).collect()
    }

    fn signal(&self, signal: &str) {
        let pid = self.process.id().to_string();
        let kill = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(kill.success());
    }

    /// Waits until the program has ended.
    fn end(mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn reminders_survive_a_kill_and_signals_end_the_service_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("reminders.db");

    let mut service = Service::start(&file);
    service.create(json!({ "text": "Now", "in_seconds": 0, "id": "now" }));
    assert_eq!(service.line(), "now: Now");
    for (id, hours) in [("later", 2), ("soon", 1), ("never", 3)] {
        let (status, _) =
            service.create(json!({ "text": "Hi", "in_seconds": hours * 3_600, "id": id }));
        assert_eq!(status, 201);
    }
    assert_eq!(
        service
            .create(json!({ "text": "Hi", "in_seconds": 1, "id": "soon" }))
            .0,
        409
    );
    assert_eq!(service.request("DELETE", "/reminders/never", "").0, 200);
    assert_eq!(service.ids(), ["soon", "later"]);
    let soon = service.request("GET", "/reminders/soon", "");
    assert_eq!((soon.0, &soon.1["text"]), (200, &json!("Hi")));
    service.signal("-KILL");
    assert_eq!(service.end().code(), None);

    let service = Service::start(&file);
    assert_eq!(service.request("GET", "/reminders/soon", ""), soon);
    // A connection on which nothing is sent does not hold up the end.
    let _idle = TcpStream::connect(&service.address).unwrap();
    service.signal("-INT");
    assert_eq!(service.end().code(), Some(0));

    let service = Service::start(&file);
    assert_eq!(service.ids(), ["soon", "later"]);
    let body = json!({ "text": "Hi", "in_seconds": 60, "id": "last" }).to_string();
    let mut request = service.begin_create(&body);
    service.signal("-TERM");
    // It accepts no connection any more, and finishes the request.
    while TcpStream::connect(&service.address).is_ok() {}
    request.write_all(body.as_bytes()).unwrap();
    let mut reply = String::new();
    request.read_to_string(&mut reply).unwrap();
    assert!(reply.contains("HTTP/1.1 201"), "{reply}");
    assert_eq!(service.end().code(), Some(0));

    let service = Service::start(&file);
    assert_eq!(service.ids(), ["last", "soon", "later"]);
}

#[test]
fn a_body_that_is_too_long_is_refused_before_it_is_sent() {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(&folder.path().join("reminders.db"));
    let mut stream = TcpStream::connect(&service.address).unwrap();
    let head = "POST /reminders HTTP/1.1\r\nHost: localhost\r\nContent-Length: 65537\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    // Without the limit, the service would wait for the body.
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let mut reply = [0; 12];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"HTTP/1.1 413");
}
