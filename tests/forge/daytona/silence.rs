//! Requests that get no answer, or half of one: each has an end, and is sent again where that is harmless.

use std::time::Duration;

use forge::sandbox::{CommandEnd, ErrorKind, Provider as _, Remedy};
use reqwest::StatusCode;

use super::{Home, Printed, Setup, collect, config, shell, upload};
use crate::support::fake_daytona::fault::{After, Before, Canned, Rule, When};
use crate::support::fake_daytona::{Options, Route};

fn warm() -> Options {
    Options {
        warm: true,
        ..Options::default()
    }
}

#[tokio::test]
async fn a_read_that_hangs_once_is_sent_again() {
    for (route, fault) in [
        (Route::CurrentKey, Rule::route(Route::CurrentKey, When::Nth(1), Before::Hang)),
        (Route::List, Rule::route(Route::List, When::Nth(1), After::Hang)),
        (Route::Config, Rule::route(Route::Config, When::Nth(1), Before::Hang)),
    ] {
        let setup = Setup::with_fault(fault);
        if route == Route::CurrentKey {
            setup.daytona.preflight().await.unwrap();
        } else if route == Route::List {
            assert_eq!(setup.daytona.list(&setup.run).await.unwrap(), []);
        } else {
            setup.daytona.server_config().await.unwrap();
        }
        assert_eq!(setup.fake.requests_to(route), 2, "{route:?}");
    }
}

#[tokio::test]
async fn a_download_whose_answer_never_begins_is_begun_again() {
    let setup = Setup::with_fault(Rule::route(Route::Download, When::Nth(1), Before::Hang));
    let sandbox = setup.sandbox().await;
    let mut command = shell("echo printed; echo wanted >out.md");
    let what = collect(&[]);
    command.then_collect = Some(what.clone());
    let (mut printed, mut home) = (Printed::default(), Home::default());
    let result = sandbox.run(&command, &mut printed).await.unwrap();
    sandbox.collect(&what, &mut home).await.unwrap();
    assert_eq!(result.end, CommandEnd::Exited(0));
    assert_eq!((printed.texts().0.as_str(), home.texts().len()), ("printed\n", 1));
    setup.delete(sandbox.as_ref()).await;
}

#[tokio::test]
async fn an_upload_that_is_not_answered_is_sent_again() {
    let setup = Setup::with_fault(Rule::route(Route::BulkUpload, When::Nth(1), Before::Hang));
    let sandbox = setup.sandbox().await;
    sandbox.upload(&[upload("a", "x", false)]).await.unwrap();
    assert_eq!(setup.fake.requests_to(Route::BulkUpload), 2);
    setup.delete(sandbox.as_ref()).await;
}

/// The organization's requests are used up: the proxy says so in words of its own, and the sandbox is fine.
#[tokio::test]
async fn a_proxy_that_could_not_ask_who_asks_is_waited_for() {
    let text = "authentication failed: validation error: 429 Too Many Requests";
    for route in [Route::BulkUpload, Route::Execute, Route::Download] {
        let answer = Before::Answer(Canned::error(StatusCode::UNAUTHORIZED, text));
        let setup = Setup::with_fault(Rule::route(route, When::First(3), answer));
        let sandbox = setup.sandbox().await;
        sandbox.upload(&[upload("a", "x", false)]).await.unwrap();
        let mut printed = Printed::default();
        let result = sandbox.run(&shell("echo hi"), &mut printed).await.unwrap();
        assert_eq!(result.end, CommandEnd::Exited(0), "{route:?}");
        assert_eq!(printed.texts().0, "hi\n", "{route:?}");
        setup.delete(sandbox.as_ref()).await;
    }
}

#[tokio::test]
async fn a_toolbox_that_refuses_everybody_is_told_once_and_not_blamed_on_the_sandbox() {
    let setup = Setup::new(warm());
    // A port on which nobody listens.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    setup.fake.set_toolbox_url(&format!("http://proxy.localhost:{port}/toolbox"));
    let sandbox = setup.sandbox().await;
    let error = sandbox.upload(&[upload("a", "x", false)]).await.expect_err("nobody is there");
    assert_eq!((error.kind, error.remedy()), (ErrorKind::Invalid, Remedy::GiveUp), "{error}");
    let expected = format!("nobody answers at `http://proxy.localhost:{port}/toolbox`");
    assert!(error.message.contains(&expected), "{error}");
    setup.delete(sandbox.as_ref()).await;
}

/// Self-hosted servers have such names, which few systems resolve.
#[tokio::test]
async fn names_below_localhost_are_this_machine() {
    let setup = Setup::new(warm());
    let at = |url: &str| url.replace("127.0.0.1", "proxy.localhost");
    setup.fake.set_toolbox_url(&at(&setup.fake.toolbox_url()));
    let config = config(&at(&setup.fake.api_url()), setup.fake.api_key());
    let options = forge::sandbox::daytona::DaytonaOptions::default();
    let daytona = forge::sandbox::daytona::Daytona::new(&config, options).unwrap();
    let sandbox = daytona.create(&setup.spec(1)).await.unwrap();
    let result = sandbox.run(&shell("exit 7"), &mut Printed::default()).await.unwrap();
    assert_eq!(result.end, CommandEnd::Exited(7));
    setup.delete(sandbox.as_ref()).await;
}

#[tokio::test]
async fn a_connection_that_was_idle_for_long_is_not_used_again() {
    let setup = Setup::new(warm());
    setup.daytona.server_config().await.unwrap();
    tokio::time::sleep(Duration::from_millis(4500)).await;
    setup.daytona.server_config().await.unwrap();
    assert_eq!(setup.fake.connections(), 2);
}
