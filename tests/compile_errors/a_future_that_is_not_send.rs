// future returned by `count` is not `Send`
// has type `Rc<String>` which is not `Send`

use std::rc::Rc;

async fn count(words: String) -> usize {
    let words = Rc::new(words);
    std::future::ready(()).await;
    words.len()
}

fn main() {
    let app = jobber::Jobber::builder().build().unwrap();
    app.task("count", count).register().unwrap();
}
