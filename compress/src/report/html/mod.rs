//! The report as one page of HTML: nothing is fetched, nothing runs, light or dark as the reader
//! likes it.

mod arena;
mod axis;
mod confusion;
mod front;
mod header;
mod histogram;
mod layers;
mod ledger;
mod sensitivity;
mod sparsity;
mod stages;

use super::{Report, Spread};
use crate::inspect::Inspection;
use crate::passes::sensitivity::Sensitivity;
use crate::search::Front;
use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");

/// A compression's page.
pub fn page(report: &Report) -> String {
    document(
        &report.model,
        html! {
            (header::of_report(report))
            (ledger::section(&report.ledger, &report.layers))
            (stages::section(report))
            (layers::table(&report.layers))
            @if !report.sensitivity.is_empty() { (sensitivity::section(&report.sensitivity)) }
            (layers::cards(&report.weights))
            (arena::section(report.arena_bytes, &report.operators, &report.tensors))
            @if let Some(both) = &report.confusion { (confusion::section(both)) }
            (foot(report.seed))
        },
    )
}

/// An image's page; `weights` are those of its matrices.
pub fn image(name: &str, image: &Inspection, weights: &[Spread]) -> String {
    document(
        name,
        html! {
            (header::of_image(name, image))
            @match &image.ledger {
                Some(ledger) => (ledger::section(ledger, &image.layers)),
                None => section id="size" { p { "Another encoder wrote this image: its bytes cannot be attributed." } }
            }
            (layers::table(&image.layers))
            (layers::cards(weights))
            (arena::section(image.arena_bytes, &image.operators, &image.tensors))
            (header::metadata(&image.metadata))
        },
    )
}

/// The page of a scan of a model's layers.
pub fn scan(name: &str, curves: &[Sensitivity]) -> String {
    document(
        name,
        html! {
            header { h1 { (name) } }
            (sensitivity::section(curves))
        },
    )
}

/// The page of a front of files.
pub fn front(made: &Front) -> String {
    document(
        &made.model,
        html! {
            (front::section(made))
            @if !made.sensitivity.is_empty() { (sensitivity::section(&made.sensitivity)) }
        },
    )
}

fn document(title: &str, body: Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " – Pith" }
                style { (PreEscaped(STYLE)) }
            }
            body { main { (body) } }
        }
    };
    // Names come from files: what no page may hold is shown as missing.
    let shown = |c: char| {
        if c.is_control() && c != '\n' {
            '\u{fffd}'
        } else {
            c
        }
    };
    page.into_string().chars().map(shown).collect()
}

fn foot(seed: u64) -> Markup {
    html! {
        footer { "Pith " (env!("CARGO_PKG_VERSION")) ", seed " (seed) ". 1 KB is 1,000 bytes." }
    }
}
