//! A plan that fails is made smaller: what can be left out while it still fails is left out.

use super::plan::{Asked, Behaviour, Plan, Task};

/// The plans that have one thing less, those first that have much less.
fn smaller(plan: &Plan) -> Vec<Plan> {
    let mut all = Vec::new();
    let mut with = |change: &dyn Fn(&mut Plan)| {
        let mut smaller = plan.clone();
        change(&mut smaller);
        if smaller != *plan && !all.contains(&smaller) {
            all.push(smaller);
        }
    };
    for at in 0..plan.properties.len() {
        with(&|it| {
            it.properties.remove(at);
        });
    }
    with(&|it| it.asked.clear());
    for at in 0..plan.asked.len() {
        with(&|it| {
            let asked = it.asked.remove(at);
            // Nothing else makes sense without it.
            if asked == Asked::Control {
                it.asked
                    .retain(|it| !matches!(it, Asked::Confirm | Asked::Auto));
            }
        });
    }
    with(&|it| it.objectives.truncate(1));
    with(&|it| it.repeats = 1);
    for at in 0..plan.candidates.len() {
        let compared = plan.has(Asked::Control) && plan.candidates.len() == 2;
        if plan.candidates.len() > 1 && !compared {
            with(&|it| {
                it.candidates.remove(at);
            });
        }
    }
    with(&|it| it.repeats -= u32::from(it.repeats > 1));
    with(&|it| it.jobs = 1);
    for at in 0..plan.candidates.len() {
        with(&|it| it.candidates[at] = Behaviour::Writes);
    }
    for at in 0..plan.objectives.len() {
        with(&|it| it.objectives[at] = Task::Plain);
    }
    all
}

/// The smallest plan that is found to fail, by at most so many tries.
pub(super) fn shrink(plan: &Plan, mut tries: usize, mut fails: impl FnMut(&Plan) -> bool) -> Plan {
    let mut smallest = plan.clone();
    'smaller: loop {
        for next in smaller(&smallest) {
            if tries == 0 {
                return smallest;
            }
            tries -= 1;
            if fails(&next) {
                smallest = next;
                continue 'smaller;
            }
        }
        return smallest;
    }
}
