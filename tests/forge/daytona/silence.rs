//! Requests that get no answer, or half of one: each has an end, and is sent again where that is harmless.

use forge::sandbox::{CommandEnd, ErrorKind, Provider as _, Remedy};

use super::{Home, Printed, Setup, collect, config, make, shell, upload};
use crate::support::fake_daytona::fault::{After, Before, Canned, Fault, Rule, When};
use crate::support::fake_daytona::{Options, Route, ToolboxUrl};

fn warm() -> Options {
    Options {
        warm: true,
        ..Options::default()
    }
}

#[tokio::test]
async fn a_read_that_hangs_once_is_sent_again() {
    for (route, fault) in [
        (
            Route::CurrentKey,
            Rule::route(Route::CurrentKey, When::Nth(1), Before::Hang),
        ),
        (
            Route::List,
            Rule::route(Route::List, When::Nth(1), After::Hang),
        ),
        (
            Route::Config,
            Rule::route(Route::Config, When::Nth(1), Before::Hang),
        ),
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
async fn a_download_that_hangs_is_begun_again() {
    brings_all_home(Before::Hang.into()).await;
    brings_all_home(After::Stall(700).into()).await;
}

async fn brings_all_home(fault: Fault) {
    let setup = Setup::with_fault(Rule::route(Route::Download, When::Nth(1), fault));
    let sandbox = setup.sandbox().await;
    let mut command = shell("echo printed; echo wanted >out.md");
    let what = collect(&[]);
    command.then_collect = Some(what.clone());
    let (mut printed, mut home) = (Printed::default(), Home::default());
    let result = sandbox.run(&command, &mut printed).await.unwrap();
    sandbox.collect(&what, &mut home).await.unwrap();
    assert_eq!(result.end, CommandEnd::Exited(0));
    assert_eq!(
        (printed.texts().0.as_str(), home.texts().len()),
        ("printed\n", 1)
    );
    setup.delete(sandbox.as_ref()).await;
}

#[tokio::test]
async fn an_upload_that_stands_still_is_sent_again() {
    let large = "x".repeat(20 << 20);
    for (fault, content) in [(Before::Hang, "x"), (Before::Unread, large.as_str())] {
        let rule = Rule::route(Route::BulkUpload, When::Nth(1), fault);
        let setup = Setup::with_fault(rule);
        let sandbox = setup.sandbox().await;
        sandbox
            .upload(&[upload("a", content, false)])
            .await
            .unwrap();
        assert_eq!(setup.fake.requests_to(Route::BulkUpload), 2);
        setup.delete(sandbox.as_ref()).await;
    }
}

/// The organization's requests are used up: the proxy says so in words of its own, and the sandbox is fine.
#[tokio::test]
async fn a_proxy_that_could_not_ask_who_asks_is_waited_for() {
    for route in [Route::BulkUpload, Route::Execute, Route::Download] {
        let answer = Before::Answer(Canned::spent_at_proxy());
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
    // Loopback too, but nobody listens there.
    let setup = Setup::new(Options {
        toolbox_url: ToolboxUrl::Host("127.0.0.2".to_owned()),
        ..warm()
    });
    let sandbox = setup.sandbox().await;
    let error = sandbox
        .upload(&[upload("a", "x", false)])
        .await
        .expect_err("nobody is there");
    assert_eq!(
        (error.kind, error.remedy()),
        (ErrorKind::OutOfReach, Remedy::GiveUp),
        "{error}"
    );
    assert!(
        error
            .message
            .contains("nobody answers at `http://127.0.0.2:"),
        "{error}"
    );
    setup.delete(sandbox.as_ref()).await;
}

/// Self-hosted servers have such names, which few systems resolve.
#[tokio::test]
async fn names_below_localhost_are_this_machine() {
    let setup = Setup::new(Options {
        toolbox_url: ToolboxUrl::Host("proxy.localhost".to_owned()),
        ..warm()
    });
    let url = setup.fake.api_url().replace("127.0.0.1", "api.localhost");
    let config = config(&url, setup.fake.api_key());
    let options = forge::sandbox::daytona::DaytonaOptions::default();
    let daytona = forge::sandbox::daytona::Daytona::new(&config, options).unwrap();
    let sandbox = make(&daytona, &setup.spec(1)).await.unwrap();
    let result = sandbox
        .run(&shell("exit 7"), &mut Printed::default())
        .await
        .unwrap();
    assert_eq!(result.end, CommandEnd::Exited(7));
    setup.delete(sandbox.as_ref()).await;
}
