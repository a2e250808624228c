// closure is `FnOnce` because it moves the variable `prefix` out of its environment

fn main() {
    let app = jobber::Jobber::builder().build().unwrap();
    let prefix = String::from("Hello");
    app.task("greet", move |name: String| async move {
        format!("{prefix} {name}")
    })
    .register()
    .unwrap();
}
