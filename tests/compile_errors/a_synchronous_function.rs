// `u32` is not a future

fn add(x: u32, y: u32) -> u32 {
    x + y
}

fn main() {
    let app = jobber::Jobber::builder().build().unwrap();
    app.task("add", add).register().unwrap();
}
