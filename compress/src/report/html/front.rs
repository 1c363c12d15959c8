//! A front of files: bytes against error.

use super::axis::{Axis, grouped, plain, px, short_bytes};
use crate::search::{Front, Point};
use maud::{Markup, html};

const WIDTH: f64 = 1040.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 1010.0;
const TOP: f64 = 24.0;
const BOTTOM: f64 = 360.0;

/// Files with so many times the least error and this much more are above the picture.
const CUT: (f64, f64) = (6.0, 5.0);

pub(super) fn section(front: &Front) -> Markup {
    html! {
        header {
            h1 { (front.model) }
            p class="sub" { (grouped(front.float_bytes)) " bytes of float weights, " (format!("{:.2}", front.float_error)) " % error on " (grouped(front.held_out)) " examples held out of training" }
        }
        section id="front" {
            h2 { "Front" }
            p class="sub" { "Each file by its bytes, on a logarithmic scale, and the error of its integers on the held-out examples. Filled are those that no other file beats; the dashed line is the float model." }
            div class="wide" { (chart(front)) }
        }
        section id="files" {
            h2 { "Files" }
            (table(front))
        }
    }
}

fn error(point: &Point) -> f64 {
    point.run.error.unwrap_or(100.0)
}

fn chart(front: &Front) -> Markup {
    let errors = || front.points.iter().map(error).chain([front.float_error]);
    let least = errors().fold(100.0, f64::min);
    let most = errors().fold(0.0, f64::max).min(least * CUT.0 + CUT.1);
    let bytes = || front.points.iter().map(|p| p.run.costs.bytes as f64);
    let ends = [
        bytes().fold(f64::INFINITY, f64::min) / 1.3,
        bytes().fold(1.0, f64::max) * 1.3,
    ];
    let x = Axis::logarithmic(ends, [LEFT, RIGHT]);
    let y = Axis::new([0.0, most * 1.1], [BOTTOM, TOP]);
    let seen: Vec<&Point> = front.points.iter().filter(|p| error(p) <= most).collect();
    let best = seen.iter().filter(|p| !p.dominated);
    let place = |p: &&&Point| {
        format!(
            "{},{}",
            px(x.at(p.run.costs.bytes as f64)),
            px(y.at(error(p)))
        )
    };
    let line: Vec<String> = best.map(|p| place(&p)).collect();
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {}", BOTTOM + 40.0)) role="img" {
            title { "Bytes against error" }
            text class="soft" x="0" y="12" { "error in percent" }
            text class="soft" x=(RIGHT) y=(BOTTOM + 36.0) text-anchor="end" { "bytes" }
            @for tick in y.ticks(6) {
                line class="grid" x1=(LEFT) x2=(RIGHT) y1=(px(y.at(tick))) y2=(px(y.at(tick))) {}
                text class="soft" x=(LEFT - 10.0) y=(px(y.at(tick) + 4.0)) text-anchor="end" { (plain(tick)) }
            }
            @for tick in steps(ends) {
                line class="grid" x1=(px(x.at(tick))) x2=(px(x.at(tick))) y1=(TOP) y2=(BOTTOM) {}
                text class="soft" x=(px(x.at(tick))) y=(BOTTOM + 18.0) text-anchor="middle" { (short_bytes(tick)) }
            }
            line class="line s-float" stroke-dasharray="6 6" x1=(LEFT) x2=(RIGHT) y1=(px(y.at(front.float_error))) y2=(px(y.at(front.float_error))) {}
            polyline class="line s-image" points=(line.join(" ")) {}
            @for point in &seen { (dot(point, x, y)) }
        }
    }
}

fn dot(point: &Point, x: Axis, y: Axis) -> Markup {
    let (bytes, error) = (point.run.costs.bytes, error(point));
    let (x, y) = (x.at(bytes as f64), y.at(error));
    html! {
        g {
            title { (point.file) ": " (grouped(bytes)) " bytes, " (format!("{error:.2}")) " % error" }
            circle class=(if point.dominated { "hollow" } else { "image" }) cx=(px(x)) cy=(px(y)) r="6" {}
            @if !point.dominated { text x=(px(x)) y=(px(y - 12.0)) text-anchor="middle" { (grouped(bytes)) } }
        }
    }
}

/// 1, 2 and 5 times powers of ten within an axis.
fn steps([low, high]: [f64; 2]) -> Vec<f64> {
    let powers = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
    let each = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|f| f * 10f64.powi(power)));
    each.filter(|step| (low..=high).contains(step)).collect()
}

fn table(front: &Front) -> Markup {
    html! {
        div class="wide" {
            table {
                tr {
                    th { "file" } th class="n" { "bytes" } th class="n" { "ratio" } th class="n" { "held-out error" } th class="n" { "arena" }
                    th class="n" { "M4 instructions, estimated" } th { "pruned and values left, by layer" }
                }
                @for point in &front.points {
                    @let costs = point.run.costs;
                    tr class=(if point.dominated { "soft" } else { "best" }) {
                        td { (point.file) }
                        td class="n" { (grouped(costs.bytes)) }
                        td class="n" { (format!("{:.1}×", front.float_bytes as f64 / costs.bytes.max(1) as f64)) }
                        td class="n" { (format!("{:.2} %", error(point))) }
                        td class="n" { (grouped(costs.arena_bytes)) }
                        td class="n" { (grouped(costs.instructions)) }
                        td { (choices(point)) }
                    }
                }
            }
        }
    }
}

fn choices(point: &Point) -> String {
    if point.run.choices.is_empty() {
        return "plain int8".to_owned();
    }
    let layer = |c: &crate::search::Choice| format!("{:.0} %/{}", 100.0 * c.sparsity, c.entries);
    let each: Vec<String> = point.run.choices.iter().map(layer).collect();
    each.join(", ")
}
