//! Quality against what it takes: time, and cost; and whom nobody beats on both.

use super::super::draw::{Drawing, steps};
use super::super::table::{Cell, Table, shown};
use super::{left_out, numbers, section};
use crate::report::Report;
use crate::report::view::figure;
use crate::score::Points;
use crate::standings::Standing;

/// So many candidates are drawn.
const MAX_POINTS: usize = 40;
/// Where the plane lies: across in percent, and down in pixels.
const LEFT: f64 = 6.0;
const RIGHT: f64 = 97.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 262.0;

/// A candidate in the plane.
struct Spot {
    name: String,
    takes: f64,
    gives: f64,
    on_front: bool,
}

pub(in crate::report::page) fn of(report: &Report<'_>) -> String {
    let standings = &report.standings.overall;
    // Where nothing judges quality, the score is what there is.
    let has_quality = standings.iter().any(|it| it.quality.is_some());
    let gives = |it: &Standing| if has_quality { it.quality } else { it.score };
    let what = if has_quality { "quality" } else { "score" };
    let metric = |name: &'static str| {
        move |it: &Standing| {
            it.metrics
                .get(name)
                .copied()
                .filter(|it| it.is_finite() && *it >= 0.0)
        }
    };
    let has = |name: &str| standings.iter().any(|it| it.metrics.contains_key(name));
    let mut body = String::new();
    let mut add = |id: &str, axis: &str, takes: &dyn Fn(&Standing) -> Option<f64>| {
        let spots: Vec<Spot> = standings
            .iter()
            .filter_map(|it| {
                Some(Spot {
                    name: it.candidate.to_string(),
                    takes: takes(it)?,
                    gives: gives(it).map(Points::value)?,
                    on_front: false,
                })
            })
            .collect();
        if spots.len() > 1 {
            body.push_str(&plane(id, spots, what, axis));
        }
    };
    add("by-time", "median time, seconds", &|it| it.median_seconds);
    if has("cost_usd") {
        add("by-cost", "cost, USD", &metric("cost_usd"));
    } else if has("tokens") {
        add("by-cost", "tokens", &metric("tokens"));
    }
    if body.is_empty() {
        return String::new();
    }
    let lead = format!(
        "Up is better {what}, left is less spent. The line joins the candidates that nobody beats on both (the Pareto front)."
    );
    let body = format!("<div class=\"planes\">\n{body}</div>\n");
    section("trade", "What quality takes", &lead, &body)
}

/// Marks those that no other beats on both, and sorts by what they take.
fn find_front(spots: &mut [Spot]) {
    spots.sort_by(|a, b| {
        a.takes
            .total_cmp(&b.takes)
            .then_with(|| b.gives.total_cmp(&a.gives))
            .then_with(|| a.name.cmp(&b.name))
    });
    let mut best = f64::NEG_INFINITY;
    let mut taken = f64::NAN;
    for spot in spots {
        // Of two that take and give the same, neither beats the other.
        let same = spot.gives >= best && (spot.takes - taken).abs() < f64::EPSILON;
        if spot.gives > best || same {
            spot.on_front = true;
            best = spot.gives;
            taken = spot.takes;
        }
    }
}

fn plane(id: &str, mut spots: Vec<Spot>, what: &str, axis: &str) -> String {
    let all = spots.len();
    spots.truncate(MAX_POINTS);
    find_front(&mut spots);
    let most = spots.iter().fold(0.0_f64, |most, it| most.max(it.takes));
    let across = steps(0.0, if most > 0.0 { most * 1.05 } else { 1.0 });
    let end = across.last().copied().unwrap_or(1.0);
    let least = spots
        .iter()
        .fold(100.0_f64, |least, it| least.min(it.gives));
    let floor = ((least - 5.0) / 10.0).floor().clamp(0.0, 9.0) * 10.0;
    let x = |value: f64| LEFT + value / end * (RIGHT - LEFT);
    let y = |value: f64| BOTTOM - (value - floor) / (100.0 - floor) * (BOTTOM - TOP);
    let title = format!("{what} against {axis}");
    let mut drawing = Drawing::new(302);
    for value in steps(floor, 100.0) {
        if (floor..=100.0).contains(&value) {
            drawing.line("grid", (LEFT, y(value)), (100.0, y(value)));
            drawing.words("tick", (0.0, y(value) + 4.0), "start", &figure(value));
        }
    }
    for value in &across {
        drawing.line("grid", (x(*value), TOP), (x(*value), BOTTOM));
        drawing.words(
            "tick",
            (x(*value), BOTTOM + 17.0),
            "middle",
            &figure(*value),
        );
    }
    drawing.words("axis", (100.0, BOTTOM + 35.0), "end", axis);
    drawing.words("axis", (0.0, 9.0), "start", what);
    let front: Vec<&Spot> = spots.iter().filter(|it| it.on_front).collect();
    for pair in front.windows(2) {
        let [from, to] = pair else { continue };
        let corner = (x(to.takes), y(from.gives));
        drawing.line("front", (x(from.takes), y(from.gives)), corner);
        drawing.line("front", corner, (x(to.takes), y(to.gives)));
    }
    for spot in &spots {
        let class = if spot.on_front { "dot" } else { "dot beaten" };
        let tip = format!(
            "{}: {} for {}",
            spot.name,
            shown(Some(spot.gives)),
            figure(spot.takes)
        );
        drawing.dot(class, (x(spot.takes), y(spot.gives)), 6.0, &tip);
    }
    for (name, place, anchor) in names(&spots, &x, &y) {
        drawing.words("label", place, anchor, &crate::plain::short(name, 24));
    }
    let takes = format!("#{axis}");
    let gives = format!("#{what}");
    let mut table = Table::new(&["candidate", &takes, &gives, "on the front"]);
    for spot in &spots {
        table.row(vec![
            Cell::text(&*spot.name),
            Cell::Number(Some(spot.takes), figure(spot.takes)),
            Cell::tenths(Some(spot.gives)),
            Cell::text(if spot.on_front { "yes" } else { "no" }),
        ]);
    }
    format!(
        "<figure>\n{}{}{}</figure>\n",
        drawing.figure(id, &title),
        left_out(all, MAX_POINTS, "in run.json"),
        numbers(&table, &title)
    )
}

/// Where the names stand: beside their dots, moved down where another is in the way.
fn names<'s>(
    spots: &'s [Spot],
    x: &dyn Fn(f64) -> f64,
    y: &dyn Fn(f64) -> f64,
) -> Vec<(&'s str, (f64, f64), &'static str)> {
    const HIGH: f64 = 15.0;
    const WIDE: f64 = 30.0;
    // What stands exactly below another may be nearer than that by what a sum is rounded by; it is not in the way, or
    // it would be moved to where it is, for ever.
    const NEAR: f64 = HIGH - 0.001;
    let mut placed: Vec<(f64, f64)> = Vec::new();
    let mut order: Vec<&Spot> = spots.iter().collect();
    order.sort_by(|a, b| {
        b.gives
            .total_cmp(&a.gives)
            .then_with(|| a.name.cmp(&b.name))
    });
    let mut names = Vec::new();
    for spot in order {
        let at = x(spot.takes);
        let (left, anchor) = if at > 62.0 {
            (at - 2.0, "end")
        } else {
            (at + 2.0, "start")
        };
        let mut down = y(spot.gives) + 4.5;
        while let Some(other) = placed
            .iter()
            .find(|it| (it.0 - left).abs() < WIDE && (it.1 - down).abs() < NEAR)
        {
            down = other.1 + HIGH;
        }
        placed.push((left, down));
        names.push((spot.name.as_str(), (left, down), anchor));
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(name: &str, takes: f64, gives: f64) -> Spot {
        Spot {
            name: name.to_owned(),
            takes,
            gives,
            on_front: false,
        }
    }

    #[test]
    fn names_of_dots_in_one_place_stand_below_each_other_wherever_that_is() {
        for place in 0..2_000 {
            let place = f64::from(place) * 0.137;
            let spots = ["a", "b", "c"].map(|name| spot(name, 1.0, place));
            let placed = names(&spots, &|_| 10.0, &|gives| gives);
            let downs: Vec<f64> = placed.iter().map(|it| it.1.1).collect();
            assert!(downs.is_sorted_by(|a, b| b - a > 14.9), "{downs:?}");
        }
    }

    #[test]
    fn nobody_on_the_front_is_beaten_on_both() {
        let mut spots = [
            spot("slow", 9.0, 95.0),
            spot("beaten", 9.0, 80.0),
            spot("fast", 1.0, 60.0),
            spot("same", 1.0, 60.0),
            spot("worse", 2.0, 60.0),
            spot("middle", 3.0, 90.0),
        ];
        find_front(&mut spots);
        let front: Vec<&str> = spots
            .iter()
            .filter(|it| it.on_front)
            .map(|it| it.name.as_str())
            .collect();
        assert_eq!(front, ["fast", "same", "middle", "slow"]);
    }
}
