//! The figures that a reader wants first.

use super::axis::{grouped, percent, short_bytes};
use crate::encode::Layer;
use crate::inspect::Inspection;
use crate::report::{Measure, Report};
use maud::{Markup, html};

pub(super) fn of_report(report: &Report) -> Markup {
    let (float, image) = (&report.float, &report.image);
    html! {
        header id="figures" {
            h1 { (report.model) }
            p class="sub" { "compressed from " (short_bytes(float.bytes as f64)) " of float weights to a file of " (grouped(image.bytes)) " bytes" }
            div class="tiles" {
                (tile("file", &format!("{} B", grouped(image.bytes)), &format!("float {} B", grouped(float.bytes))))
                (tile("ratio", &format!("{:.1}×", report.ratio), "float bytes over the file's"))
                @match (&float.measure, &image.measure) {
                    (Some(before), Some(after)) => (error(before, after)),
                    _ => (tile("error", "–", "not measured: no data"))
                }
                (tile("arena", &format!("{} B", grouped(report.arena_bytes)), "working memory of an inference"))
                (tile("MACs", &grouped(report.macs), "multiply-accumulates, were it dense"))
                (tile("M4 instructions", &millions(report.instructions), "of an inference, estimated"))
                (living(&report.layers))
            }
        }
    }
}

fn millions(count: u64) -> String {
    format!("{:.2} M", count as f64 / 1e6)
}

pub(super) fn of_image(name: &str, image: &Inspection) -> Markup {
    html! {
        header id="figures" {
            h1 { (name) }
            div class="tiles" {
                (tile("file", &format!("{} B", grouped(image.bytes)), &format!("{} operators", image.operators.len())))
                (tile("arena", &format!("{} B", grouped(image.arena_bytes)), "working memory of an inference"))
                (tile("MACs", &grouped(image.macs), "multiply-accumulates, were it dense"))
                (living(&image.layers))
            }
        }
    }
}

fn tile(what: &str, figure: &str, note: &str) -> Markup {
    html! {
        div class="tile" {
            div class="what" { (what) }
            div class="figure" { (figure) }
            div class="note" { (note) }
        }
    }
}

fn error(before: &Measure, after: &Measure) -> Markup {
    let note = format!(
        "float {:.2} %: {:+.2} points on {} {} examples",
        before.value,
        after.value - before.value,
        grouped(after.n),
        after.split
    );
    tile("error", &format!("{:.2} %", after.value), &note)
}

fn living(layers: &[Layer]) -> Markup {
    let all: usize = layers
        .iter()
        .map(|l| l.shape.iter().product::<usize>())
        .sum();
    let nonzero: usize = layers.iter().map(|l| l.nonzero).sum();
    let note = format!(
        "not zero, {:.1} % of {}",
        percent(nonzero, all),
        grouped(all)
    );
    tile("weights", &grouped(nonzero), &note)
}

pub(super) fn metadata(pairs: &[(String, String)]) -> Markup {
    html! {
        @if !pairs.is_empty() {
            section id="metadata" {
                h2 { "Metadata" }
                table { @for (key, value) in pairs { tr { td { (printable(key)) } td { (printable(value)) } } } }
            }
        }
    }
}

/// Control characters of a stranger's file are shown, not obeyed.
fn printable(text: &str) -> String {
    text.escape_debug().to_string()
}
