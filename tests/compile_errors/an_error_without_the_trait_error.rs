// `NoMailbox` can't be the error of a task
// the error of a task implements `std::error::Error + Send + Sync

struct NoMailbox;

async fn mail(_to: String) -> Result<(), NoMailbox> {
    Err(NoMailbox)
}

fn main() {
    let app = jobber::Jobber::builder().build().unwrap();
    app.task("mail", mail).register().unwrap();
}
