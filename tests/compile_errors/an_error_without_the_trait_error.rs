// the trait bound `NoMailbox: std::error::Error` is not satisfied
// required for `Result<(), NoMailbox>` to implement `TaskOutput`

struct NoMailbox;

async fn mail(_to: String) -> Result<(), NoMailbox> {
    Err(NoMailbox)
}

fn main() {
    let app = jobber::Jobber::builder().build().unwrap();
    app.task("mail", mail).register().unwrap();
}
