// {greet}` can't be a task
// `JobContext` can only be the first parameter

async fn greet(_name: String, _cx: jobber::JobContext) {}

fn main() {
    let app = jobber::Jobber::builder().build().unwrap();
    app.task("greet", greet).register().unwrap();
}
