// `Box<(dyn std::error::Error + 'static)>` can't be the error of a task
// use `jobber::BoxError`

async fn read(number: String) -> Result<u32, Box<dyn std::error::Error>> {
    Ok(number.parse()?)
}

fn main() {
    let app = jobber::Jobber::builder().build().unwrap();
    app.task("read", read).register().unwrap();
}
