// {post}` can't be a task
// arguments that are `Clone + Send + Sync + 'static`

struct Letter;

async fn post(_letter: Letter) {}

fn main() {
    let app = jobber::Jobber::builder().build().unwrap();
    app.task("post", post).register().unwrap();
}
