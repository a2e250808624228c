// a task can't return `Report`
// return `Result<Report, E>` with any error type `E`, or implement `TaskOutput` for `Report`

struct Report;

async fn report() -> Report {
    Report
}

fn main() {
    let app = jobber::Jobber::builder().build().unwrap();
    app.task("report", report).register().unwrap();
}
