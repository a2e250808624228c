// `(dyn std::error::Error + 'static)` cannot be sent between threads safely
// required for `Result<u32, Box<(dyn std::error::Error + 'static)>>` to implement `TaskOutput`

async fn read(number: String) -> Result<u32, Box<dyn std::error::Error>> {
    Ok(number.parse()?)
}

fn main() {
    let app = jobber::Jobber::builder().build().unwrap();
    app.task("read", read).register().unwrap();
}
