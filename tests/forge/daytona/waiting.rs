//! What a command takes of this machine while it is waited for.

use std::time::Duration;

use forge::conformance::make;

use super::{Printed, Setup, shell};
use crate::support::allocations::counted;
use crate::support::fake_daytona::fault::{Before, Rule, When};
use crate::support::fake_daytona::{Options, Route};

/// So many at once, and what each may take: of that, more than half is its connection's.
const MANY: usize = 50;
const EACH: u64 = 56 << 10;

#[test]
fn a_command_that_is_waited_for_takes_little_memory() {
    let never = Rule::route(Route::Execute, When::Always, Before::Hang);
    let setup = Setup::new(Options {
        warm: true,
        faults: vec![never],
        ..Options::default()
    });
    // On this thread alone, whose memory is counted.
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().build().unwrap();
    let make = |serial| runtime.block_on(make(&setup.daytona, &setup.spec(serial)));
    let sandboxes = (1..=MANY).map(|serial| make(serial as u64).unwrap());
    let sandboxes: Vec<_> = sandboxes.collect();
    let command = shell("sleep 60");
    let (all_run, asked) = counted(|| {
        runtime.block_on(async {
            let mut printed: Vec<Printed> = Vec::new();
            printed.resize_with(MANY, Printed::default);
            let runs = sandboxes.iter().zip(&mut printed);
            let runs = runs.map(|(sandbox, printed)| sandbox.run(&command, printed));
            let all = futures::future::join_all(runs);
            let all_run = async {
                while setup.fake.requests_to(Route::Execute) < MANY {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            };
            tokio::select! {
                ended = all => panic!("{ended:?}"),
                in_time = tokio::time::timeout(Duration::from_secs(60), all_run) => in_time.is_ok(),
            }
        })
    });
    assert!(all_run);
    let each = asked.most / MANY as u64;
    assert!(each < EACH, "{each} bytes for each");
    for sandbox in sandboxes {
        runtime.block_on(setup.delete(sandbox.as_ref()));
    }
}
