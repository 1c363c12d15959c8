//! Where the bytes go: the whole file and every layer as bars stacked by purpose.

use super::axis::{grouped, percent};
use crate::encode::{Layer, Ledger};
use maud::{Markup, html};

/// Shares below this carry no text.
const LABELLED_PERCENT: f64 = 9.0;

/// A purpose's class in the style sheet.
fn class(name: &str) -> &str {
    name.strip_prefix("weights.").unwrap_or(name)
}

pub(super) fn section(ledger: &Ledger, layers: &[Layer]) -> Markup {
    let total = ledger.total();
    let of_layers: usize = layers.iter().map(|l| l.bytes).sum();
    let most = layers.iter().map(|l| l.bytes).max().unwrap_or(0);
    html! {
        section id="size" {
            h2 { "Size" }
            p class="sub" { "All " (grouped(total)) " bytes of the file by what they are for, then the weights of each layer." }
            (bar(ledger, total, 40))
            (legend(ledger))
            div class="rows" {
                @for layer in layers {
                    span { (layer.name) }
                    (bar(&layer.ledger, most, 18))
                    span class="n" { (grouped(layer.bytes)) " B" }
                }
                @if let Some(rest) = total.checked_sub(of_layers) {
                    span class="soft" { "everything else" }
                    span {}
                    span class="n soft" { (grouped(rest)) " B" }
                }
            }
        }
    }
}

/// One bar, as long as `whole` is wide.
fn bar(ledger: &Ledger, whole: usize, height: usize) -> Markup {
    let mut start = 0.0;
    let entries = ledger.entries().into_iter().filter(|(_, bytes)| *bytes > 0);
    let parts: Vec<_> = entries
        .map(|(name, bytes)| {
            let (left, width) = (start, percent(bytes, whole));
            start += width;
            (name, bytes, left, width)
        })
        .collect();
    html! {
        svg width="100%" height=(height) role="img" {
            @for &(name, bytes, left, width) in &parts {
                g {
                    title { (name) ": " (grouped(bytes)) " bytes" }
                    rect class=(class(name)) x=(format!("{left:.3}%")) width=(format!("{width:.3}%")) height=(height) {}
                }
            }
            @for &(name, _, left, width) in parts.iter().filter(|part| height > 30 && part.3 > LABELLED_PERCENT) {
                text class="on" x=(format!("{:.3}%", left + width / 2.0)) y=(height / 2 + 4) text-anchor="middle" { (class(name)) }
            }
        }
    }
}

fn legend(ledger: &Ledger) -> Markup {
    let total = ledger.total();
    html! {
        ul class="legend" {
            @for (name, bytes) in ledger.entries().into_iter().filter(|(_, bytes)| *bytes > 0) {
                li {
                    span class={ "swatch " (class(name)) } {}
                    span { (name) " " span class="soft" { (grouped(bytes)) " B, " (format!("{:.1}", percent(bytes, total))) " %" } }
                }
            }
        }
    }
}
