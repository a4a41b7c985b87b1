//! `FakeDaytona` does what it promises: the wire's habits, and each fault of its plan.

mod account;
mod control;
mod expiry;
mod faults;
mod network;
mod teardown;
mod toolbox;
mod transfer;

use std::sync::Once;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::multipart::{Form, Part};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use crate::support::fake_daytona::fault::Rule;
use crate::support::fake_daytona::{FakeDaytona, Options};

/// An answer, read to its end.
#[derive(Debug)]
struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    text: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {}", self.text))
    }

    fn message(&self) -> String {
        self.json()["message"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    fn field(&self, name: &str) -> String {
        self.json()[name].as_str().unwrap_or_default().to_owned()
    }

    fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap_or(""))
    }
}

/// A server and a client with its key.
struct Setup {
    fake: FakeDaytona,
    http: reqwest::Client,
}

impl Setup {
    #[expect(clippy::expect_used, reason = "a test that cannot begin has failed")]
    fn new(options: Options) -> Self {
        static PROVIDER: Once = Once::new();
        PROVIDER.call_once(|| {
            drop(rustls::crypto::ring::default_provider().install_default());
        });
        Self {
            fake: FakeDaytona::start(options).expect("a server"),
            http: reqwest::Client::builder()
                .no_proxy()
                .build()
                .expect("a client"),
        }
    }

    fn with_fault(rule: Rule) -> Self {
        Self::new(Options {
            faults: vec![rule],
            ..Options::default()
        })
    }

    fn request(&self, method: Method, url: String) -> RequestBuilder {
        self.http
            .request(method, url)
            .bearer_auth(self.fake.api_key())
    }

    fn api(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, format!("{}{path}", self.fake.api_url()))
    }

    fn toolbox(&self, method: Method, id: &str, path: &str) -> RequestBuilder {
        self.request(method, format!("{}/{id}{path}", self.fake.toolbox_url()))
    }

    async fn create(&self, body: Value) -> Answer {
        send(self.api(Method::POST, "/sandbox").json(&body)).await
    }

    /// Creates a sandbox that is ready, and gives its id.
    async fn sandbox(&self, name: &str) -> String {
        let answer = self.create(json!({"name": name})).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        answer.field("id")
    }

    async fn get(&self, sandbox: &str) -> Answer {
        send(self.api(Method::GET, &format!("/sandbox/{sandbox}"))).await
    }

    async fn delete(&self, sandbox: &str) -> Answer {
        send(self.api(Method::DELETE, &format!("/sandbox/{sandbox}"))).await
    }

    async fn execute(&self, id: &str, body: Value) -> Answer {
        send(
            self.toolbox(Method::POST, id, "/process/execute")
                .json(&body),
        )
        .await
    }

    /// Runs a command that must succeed, and gives what it printed.
    async fn run(&self, id: &str, command: &str) -> String {
        let answer = self.execute(id, json!({"command": command})).await;
        assert_eq!(answer.json()["exitCode"], 0, "{}", answer.text);
        answer.field("result")
    }

    async fn upload(&self, id: &str, path: &str, content: &str) -> Answer {
        let form = Form::new().text("files[0].path", path.to_owned()).part(
            "files[0].file",
            Part::text(content.to_owned()).file_name("f"),
        );
        let request = self.toolbox(Method::POST, id, "/files/bulk-upload");
        send(request.multipart(form)).await
    }

    async fn download(&self, id: &str, path: &str) -> Answer {
        let request = self.toolbox(Method::GET, id, "/files/download");
        send(request.query(&[("path", path)])).await
    }
}

async fn try_send(request: RequestBuilder) -> reqwest::Result<Answer> {
    let response = request.timeout(Duration::from_secs(30)).send().await?;
    Ok(Answer {
        status: response.status(),
        headers: response.headers().clone(),
        text: response.text().await?,
    })
}

#[expect(
    clippy::expect_used,
    reason = "the tests of lost answers use `try_send`"
)]
async fn send(request: RequestBuilder) -> Answer {
    try_send(request).await.expect("an answer")
}

/// Waits until something is so; gives up after ten seconds.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("never happened: {what}");
}
