//! How the values of a weight matrix are spread, before and after.

use super::axis::px;
use crate::report::Spread;
use maud::{Markup, html};

const WIDTH: f64 = 300.0;
const HEIGHT: f64 = 84.0;

pub(super) fn picture(spread: &Spread) -> Markup {
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {}", HEIGHT + 18.0)) role="img" {
            title { "Values of " (spread.name) }
            @if let Some(before) = &spread.before { path class="float area" d=(area(before)) {} }
            (bars(&spread.after))
            line class="axis" x1="0" x2=(WIDTH) y1=(HEIGHT) y2=(HEIGHT) {}
            text class="soft" x="0" y=(HEIGHT + 15.0) { (format!("−{:.3}", spread.limit)) }
            text class="soft" x=(WIDTH / 2.0) y=(HEIGHT + 15.0) text-anchor="middle" { "0" }
            text class="soft" x=(WIDTH) y=(HEIGHT + 15.0) text-anchor="end" { (format!("{:.3}", spread.limit)) }
        }
    }
}

fn tallest(counts: &[usize]) -> f64 {
    counts.iter().copied().max().unwrap_or(0).max(1) as f64
}

fn area(counts: &[usize]) -> String {
    let (width, most) = (WIDTH / counts.len().max(1) as f64, tallest(counts));
    let step = |(i, &count): (usize, &usize)| {
        let (x, y) = (i as f64 * width, HEIGHT * (1.0 - count as f64 / most));
        format!("L{} {}H{}", px(x), px(y), px(x + width))
    };
    let steps: String = counts.iter().enumerate().map(step).collect();
    format!("M0 {HEIGHT}{steps}V{HEIGHT}z")
}

fn bars(counts: &[usize]) -> Markup {
    let (width, most) = (WIDTH / counts.len().max(1) as f64, tallest(counts));
    html! {
        @for (i, &count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            // What is there is seen, however little.
            @let height = (HEIGHT * count as f64 / most).max(1.0);
            rect class="image" x=(px(i as f64 * width + 0.5)) y=(px(HEIGHT - height)) width=(px(width - 1.0)) height=(px(height)) {}
        }
    }
}
