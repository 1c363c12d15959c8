//! A table of the weight matrices; a card for each with its histogram and its picture.

use super::axis::{grouped, percent};
use super::{histogram, sparsity};
use crate::encode::Layer;
use crate::inspect::side;
use crate::report::Spread;
use maud::{Markup, html};

/// Most layers that are drawn: a page is to be looked at.
const DRAWN: usize = 60;

pub(super) fn table(layers: &[Layer]) -> Markup {
    let total: usize = layers
        .iter()
        .map(|l| l.shape.iter().product::<usize>())
        .sum();
    let nonzero: usize = layers.iter().map(|l| l.nonzero).sum();
    let bytes: usize = layers.iter().map(|l| l.bytes).sum();
    let entropy: f64 = layers.iter().map(|l| l.entropy_bits).sum();
    html! {
        section id="layers" {
            h2 { "Layers" }
            p class="sub" { "What is left of each weight matrix, the form it is stored in, and how far its bytes are from the entropy of that form's symbols." }
            div class="wide" {
                table {
                    tr {
                        th { "weights" } th { "shape" } th class="n" { "weights" } th { "not zero" } th { "form" }
                        th class="n" { "bytes" } th class="n" { "entropy" } th class="n" { "bits a weight" }
                    }
                    @for layer in layers { (row(layer)) }
                    @if layers.len() > 1 {
                        tr class="soft" {
                            td { "together" } td {} td class="n" { (grouped(total)) } td { (share(nonzero, total)) } td {}
                            td class="n" { (grouped(bytes)) } td class="n" { (grouped(whole_bytes(entropy))) } td class="n" { (bits(bytes, total)) }
                        }
                    }
                }
            }
        }
    }
}

fn row(layer: &Layer) -> Markup {
    let count = layer.shape.iter().product();
    html! {
        tr {
            td { (layer.name) }
            td { (side(&layer.shape)) }
            td class="n" { (grouped(count)) }
            td style="white-space:nowrap" { (share(layer.nonzero, count)) }
            td { (layer.encoding) }
            td class="n" { (grouped(layer.bytes)) }
            td class="n" { (grouped(whole_bytes(layer.entropy_bits))) }
            td class="n" { (bits(layer.bytes, count)) }
        }
    }
}

fn whole_bytes(bits: f64) -> u64 {
    (bits / 8.0).ceil() as u64
}

fn bits(bytes: usize, weights: usize) -> String {
    format!("{:.2}", 8.0 * bytes as f64 / weights.max(1) as f64)
}

fn share(part: usize, whole: usize) -> Markup {
    let percent = percent(part, whole);
    html! {
        span class="share" { span style=(format!("width:{percent:.1}%")) {} }
        (grouped(part)) " (" (format!("{percent:.1}")) " %)"
    }
}

pub(super) fn cards(weights: &[Spread]) -> Markup {
    html! {
        section id="weights" {
            h2 { "Weights" }
            p class="sub" {
                "For each matrix its values " span style="color:var(--image)" { "after" }
                @if weights.iter().any(|w| w.before.is_some()) { " and " span style="color:var(--float)" { "before" } }
                ", zeros apart, each scaled to its own peak; and where its living weights are, outputs down, inputs across: the darker, the more of them live."
            }
            div class="cards" {
                @for spread in weights.iter().take(DRAWN) {
                    div class="card" {
                        h3 { (spread.name) }
                        p class="sub" { (caption(spread)) }
                        (histogram::picture(spread))
                        (sparsity::picture(&spread.picture))
                    }
                }
            }
            @if weights.len() > DRAWN {
                p class="sub" { "The first " (DRAWN) " of " (weights.len()) " matrices." }
            }
        }
    }
}

fn caption(spread: &Spread) -> String {
    let living: usize = spread.after.iter().sum();
    let [rows, columns] = spread.picture.shape;
    let zero = percent(spread.zeros, spread.zeros + living);
    format!("{rows} × {columns}, {zero:.1} % zero")
}
