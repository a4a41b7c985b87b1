//! Drawing: the one file that writes SVG.
//!
//! `plotters`, `poloto`, `charming`, `kuva` and `charts-rs` were looked at, and none fits: they draw a picture of fixed
//! size with colours and fonts in it (`charming` by a whole script engine), where a page needs marks that take its
//! width, its colours in light and dark, and its text, without a `style` attribute, which the policy forbids.
//!
//! Places across are in percent and heights in pixels, so that marks and letters keep their size from 320 pixels to 4k
//! without a script.

use super::markup::escaped;

/// A picture as wide as it is given room.
pub(super) struct Drawing {
    height: u32,
    body: String,
}

/// A place, with as many digits as anybody sees.
fn at(value: f64) -> String {
    let text = format!("{:.2}", value + 0.0);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn titled(tag: &str, attributes: &str, tip: &str) -> String {
    if tip.is_empty() {
        return format!("<{tag} {attributes}/>");
    }
    format!(
        "<{tag} {attributes}><title>{}</title></{tag}>",
        escaped(tip)
    )
}

impl Drawing {
    /// An empty one of a height in pixels.
    pub(super) const fn new(height: u32) -> Self {
        Self {
            height,
            body: String::new(),
        }
    }

    /// A line from one place to another.
    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        add!(
            self.body,
            "<line class=\"{class}\" x1=\"{}%\" y1=\"{}\" x2=\"{}%\" y2=\"{}\"/>",
            at(from.0),
            at(from.1),
            at(to.0),
            at(to.1)
        );
    }

    /// A dot; `tip` says what it is to who points at it.
    pub(super) fn dot(&mut self, class: &str, place: (f64, f64), radius: f64, tip: &str) {
        let attributes = format!(
            "class=\"{class}\" cx=\"{}%\" cy=\"{}\" r=\"{}\"",
            at(place.0),
            at(place.1),
            at(radius)
        );
        self.body.push_str(&titled("circle", &attributes, tip));
    }

    /// A bar.
    pub(super) fn bar(
        &mut self,
        class: &str,
        from: f64,
        width: f64,
        (top, high): (f64, f64),
        tip: &str,
    ) {
        let attributes = format!(
            "class=\"{class}\" x=\"{}%\" y=\"{}\" width=\"{}%\" height=\"{}\"",
            at(from),
            at(top),
            at(width.max(0.0)),
            at(high)
        );
        self.body.push_str(&titled("rect", &attributes, tip));
    }

    /// Words; `anchor` is `start`, `middle` or `end`.
    pub(super) fn words(&mut self, class: &str, place: (f64, f64), anchor: &str, text: &str) {
        add!(
            self.body,
            "<text class=\"{class}\" x=\"{}%\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>",
            at(place.0),
            at(place.1),
            escaped(text)
        );
    }

    /// As a part of a figure that says what it is.
    pub(super) fn part(&self) -> String {
        format!(
            "<svg width=\"100%\" height=\"{}\" aria-hidden=\"true\" focusable=\"false\">{}</svg>",
            self.height, self.body
        )
    }

    /// As a figure by itself.
    pub(super) fn figure(&self, id: &str, title: &str) -> String {
        format!(
            "<svg class=\"plot\" width=\"100%\" height=\"{}\" role=\"img\" aria-labelledby=\"{id}-title\"><title id=\"{id}-title\">{}</title>{}</svg>\n",
            self.height,
            escaped(title),
            self.body
        )
    }
}

/// One line of a chart: a name, a drawing, what it comes to.
pub(super) struct Track {
    pub(super) name: String,
    pub(super) drawing: Drawing,
    pub(super) value: String,
    pub(super) tone: &'static str,
}

/// Lines one below the other over the same scale.
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) tracks: Vec<Track>,
    /// Places of the scale, in percent, and what stands there.
    pub(super) scale: Vec<(f64, String)>,
}

impl Chart {
    /// As markup. Who does not see it is told the title, and has the table.
    pub(super) fn markup(&self) -> String {
        let mut text = format!(
            "<div class=\"chart\" role=\"img\" aria-label=\"{}\">\n<div class=\"tracks\">\n",
            escaped(&self.title)
        );
        for track in &self.tracks {
            add!(
                text,
                "<div class=\"track {}\"><span class=\"name\" title=\"{name}\">{name}</span><span class=\"value\">{}</span>{}</div>\n",
                track.tone,
                escaped(&track.value),
                track.drawing.part(),
                name = escaped(&track.name),
            );
        }
        if !self.scale.is_empty() {
            let mut ticks = Drawing::new(18);
            for (place, label) in &self.scale {
                let anchor = if *place < 5.0 {
                    "start"
                } else if *place > 95.0 {
                    "end"
                } else {
                    "middle"
                };
                ticks.words("tick", (*place, 13.0), anchor, label);
            }
            add!(
                text,
                "<div class=\"track scale\"><span class=\"name\"></span><span class=\"value\"></span>{}</div>\n",
                ticks.part()
            );
        }
        text.push_str("</div>\n</div>\n");
        text
    }
}

/// The scale of points.
pub(super) fn points_scale() -> Vec<(f64, String)> {
    [0, 25, 50, 75, 100]
        .into_iter()
        .map(|it| (f64::from(it), it.to_string()))
        .collect()
}

/// A scale of numbers that people count by, from `low` to at least `high`; at most six steps.
pub(super) fn steps(low: f64, high: f64) -> Vec<f64> {
    let span = high - low;
    if !span.is_finite() || span <= 0.0 {
        return vec![low];
    }
    let rough = span / 4.0;
    let power = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .into_iter()
        .map(|it| it * power)
        .find(|it| *it >= rough)
        .unwrap_or(rough);
    let first = (low / step).floor();
    let last = (high / step).ceil();
    let mut steps = Vec::new();
    let mut step_at = first;
    while step_at <= last + 0.5 && steps.len() < 12 {
        steps.push(step_at * step);
        step_at += 1.0;
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_count_as_people_do() {
        assert_eq!(steps(0.0, 9.0), [0.0, 2.5, 5.0, 7.5, 10.0]);
        assert_eq!(steps(-14.0, 3.0), [-15.0, -10.0, -5.0, 0.0, 5.0]);
        assert_eq!(steps(0.0, 0.0), [0.0]);
        assert_eq!(steps(0.0, f64::NAN), [0.0]);
        assert_eq!(steps(0.0, 1.0), [0.0, 0.25, 0.5, 0.75, 1.0]);
    }

    #[test]
    fn what_is_said_of_a_mark_is_escaped() {
        let mut drawing = Drawing::new(10);
        drawing.dot("dot", (50.0, 5.0), 4.0, "<b>");
        drawing.words("tick", (1.0 / 3.0, 5.0), "end", "a&b");
        assert_eq!(
            drawing.part(),
            "<svg width=\"100%\" height=\"10\" aria-hidden=\"true\" focusable=\"false\">\
             <circle class=\"dot\" cx=\"50%\" cy=\"5\" r=\"4\"><title>&lt;b&gt;</title></circle>\
             <text class=\"tick\" x=\"0.33%\" y=\"5\" text-anchor=\"end\">a&amp;b</text></svg>"
        );
    }
}
