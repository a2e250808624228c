// {seven}` can't be a task
// with 0 to 6 arguments

async fn seven(_: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8) {}

fn main() {
    let app = jobber::Jobber::builder().build().unwrap();
    app.task("seven", seven).register().unwrap();
}
