// a task can't return `impl Future<Output = u32>`
// for an async function, use `task`

async fn add(x: u32, y: u32) -> u32 {
    x + y
}

fn main() {
    let app = jobber::Jobber::builder().build().unwrap();
    app.blocking_task("add", add).register().unwrap();
}
