//! Error and size along the passes.

use super::axis::{Axis, grouped, plain, px, short_bytes};
use crate::pipeline::StagePass;
use crate::report::Report;
use crate::settings::FineTune;
use maud::{Markup, html};

const WIDTH: f64 = 1040.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 1000.0;
/// Top and bottom of the panel of errors, and of that of sizes.
const ERRORS: [f64; 2] = [24.0, 190.0];
const SIZES: [f64; 2] = [252.0, 336.0];

/// What is known at one place along the way.
struct Step<'r> {
    name: &'r str,
    seconds: Option<f64>,
    bytes: usize,
    held_out: Option<f64>,
    test: Option<f64>,
}

fn steps(report: &Report) -> Vec<Step<'_>> {
    let test = |measure: &Option<crate::report::Measure>| measure.as_ref().map(|m| m.value);
    let mut steps = vec![Step {
        name: "float",
        seconds: None,
        bytes: report.float.bytes,
        held_out: None,
        test: test(&report.float.measure),
    }];
    let tuned = report.fine_tuned.as_ref();
    let tuned = tuned.and_then(|tuned| test(&tuned.measure));
    steps.extend(report.stages.iter().map(|stage| Step {
        name: &stage.name,
        seconds: Some(stage.seconds),
        bytes: stage.bytes,
        held_out: stage.value,
        test: tuned.filter(|_| stage.name == FineTune::NAME),
    }));
    steps.push(Step {
        name: "image",
        seconds: None,
        bytes: report.image.bytes,
        held_out: None,
        test: test(&report.image.measure),
    });
    steps
}

pub(super) fn section(report: &Report) -> Markup {
    let steps = steps(report);
    let measured = steps.iter().any(|s| s.held_out.or(s.test).is_some());
    html! {
        section id="stages" {
            h2 { "Stages" }
            p class="sub" {
                "The error after each pass on examples held out of training, and on the test split before and after."
                @if !measured { " Nothing was measured: there was no data." }
            }
            div class="wide" { (chart(&steps)) }
            (table(&steps))
        }
    }
}

fn chart(steps: &[Step]) -> Markup {
    let x = Axis::new([0.0, steps.len() as f64 - 1.0], [LEFT + 30.0, RIGHT - 30.0]);
    let places: Vec<f64> = (0..steps.len()).map(|i| x.at(i as f64)).collect();
    html! {
        svg viewBox=(format!("0 0 {WIDTH} 368")) role="img" {
            title { "Error and bytes along the stages" }
            (errors(steps, &places))
            (sizes(steps, &places))
            @for (step, x) in steps.iter().zip(&places) {
                text x=(px(*x)) y="358" text-anchor="middle" { (step.name) }
            }
        }
    }
}

fn errors(steps: &[Step], places: &[f64]) -> Markup {
    let figures = steps.iter().flat_map(|s| [s.held_out, s.test]).flatten();
    let most = figures.fold(0.0f64, f64::max);
    let y = Axis::new([0.0, most * 1.15], [ERRORS[1], ERRORS[0]]);
    let at = |figure: fn(&Step) -> Option<f64>| -> Vec<(f64, f64, f64)> {
        let known = steps.iter().zip(places);
        let known = known.filter_map(|(s, &x)| figure(s).map(|e| (x, y.at(e), e)));
        known.collect()
    };
    let (held_out, test) = (at(|s| s.held_out), at(|s| s.test));
    html! {
        text class="soft" x="0" y="12" { "error in percent" }
        (key(RIGHT - 250.0, "image", "held-out examples"))
        (key(RIGHT - 90.0, "float", "test split"))
        @for tick in y.ticks(5) {
            line class="grid" x1=(LEFT) x2=(RIGHT) y1=(px(y.at(tick))) y2=(px(y.at(tick))) {}
            text class="soft" x=(LEFT - 10.0) y=(px(y.at(tick) + 4.0)) text-anchor="end" { (plain(tick)) }
        }
        polyline class="line s-image" points=(points(&held_out)) {}
        @for (x, y, error) in &held_out {
            circle class="image" cx=(px(*x)) cy=(px(*y)) r="5" { title { (format!("{error:.3} %")) } }
            text x=(px(*x)) y=(px(y - 11.0)) text-anchor="middle" { (format!("{error:.2}")) }
        }
        polyline class="line s-float" stroke-dasharray="2 6" points=(points(&test)) {}
        @for (x, y, error) in &test {
            path class="float" d=(format!("M{} {}l6 6l-6 6l-6 -6z", px(*x), px(y - 6.0))) { title { (format!("{error:.3} %")) } }
            text x=(px(*x)) y=(px(y - 11.0)) text-anchor="middle" { (format!("{error:.2}")) }
        }
    }
}

fn key(x: f64, class: &str, text: &str) -> Markup {
    html! {
        circle class=(class) cx=(px(x)) cy="8" r="5" {}
        text class="soft" x=(px(x + 10.0)) y="12" { (text) }
    }
}

fn points(at: &[(f64, f64, f64)]) -> String {
    let each = at.iter().map(|(x, y, _)| format!("{},{}", px(*x), px(*y)));
    each.collect::<Vec<_>>().join(" ")
}

fn sizes(steps: &[Step], places: &[f64]) -> Markup {
    let known = || steps.iter().zip(places).filter(|(s, _)| s.bytes > 0);
    let most = known().map(|(s, _)| s.bytes).max().unwrap_or(1) as f64;
    let least = known().map(|(s, _)| s.bytes).min().unwrap_or(1) as f64;
    let y = Axis::logarithmic([least / 3.0, most], [SIZES[1], SIZES[0]]);
    html! {
        text class="soft" x="0" y=(SIZES[0] - 30.0) { "bytes, on a logarithmic scale" }
        @for tick in y.ticks(0) {
            line class="grid" x1=(LEFT) x2=(RIGHT) y1=(px(y.at(tick))) y2=(px(y.at(tick))) {}
            text class="soft" x=(LEFT - 10.0) y=(px(y.at(tick) + 4.0)) text-anchor="end" { (short_bytes(tick)) }
        }
        line class="axis" x1=(LEFT) x2=(RIGHT) y1=(SIZES[1]) y2=(SIZES[1]) {}
        @for (step, x) in known() {
            @let top = y.at(step.bytes as f64);
            rect class="third" x=(px(x - 16.0)) width="32" y=(px(top)) height=(px(SIZES[1] - top)) rx="3" {
                title { (grouped(step.bytes)) " bytes" }
            }
            text x=(px(*x)) y=(px(top - 6.0)) text-anchor="middle" { (grouped(step.bytes)) }
        }
    }
}

fn table(steps: &[Step]) -> Markup {
    let error = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |e| format!("{e:.2} %"));
    html! {
        table {
            tr { th { "stage" } th class="n" { "seconds" } th class="n" { "bytes" } th class="n" { "held-out error" } th class="n" { "test error" } }
            @for step in steps {
                tr {
                    td { (step.name) }
                    td class="n" { (step.seconds.map_or_else(|| "–".to_owned(), |s| format!("{s:.1}"))) }
                    td class="n" { @if step.bytes > 0 { (grouped(step.bytes)) } @else { "–" } }
                    td class="n" { (error(step.held_out)) }
                    td class="n" { (error(step.test)) }
                }
            }
        }
    }
}
