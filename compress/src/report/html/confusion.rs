//! Which classes are taken for which, by the float model and by the image.

use super::axis::{grouped, px};
use crate::report::{Confusion, Confusions};
use maud::{Markup, html};

/// Most classes that fit a picture, and a picture with figures in it.
const DRAWN: usize = 48;
const WITH_FIGURES: usize = 14;

/// Mistakes that are listed.
const LISTED: usize = 10;

const SIDE: f64 = 420.0;
const MARGIN: f64 = 28.0;

pub(super) fn section(both: &Confusions) -> Markup {
    let (side, total) = (both.side(), both.image.total());
    html! {
        section id="confusion" {
            h2 { "Confusion" }
            p class="sub" { "The " (grouped(total)) " examples of the test split: what they are downwards, what the model says across. Red are mistakes, the stronger the more." }
            @if (1..=DRAWN).contains(&side) {
                div class="pair" {
                    (matrix("float", &both.float, side))
                    (matrix("image", &both.image, side))
                }
            }
            (mistakes(both))
        }
    }
}

fn matrix(name: &str, confusion: &Confusion, side: usize) -> Markup {
    let cell = (SIDE - MARGIN) / side as f64;
    let cells = || (0..side).flat_map(|is| (0..side).map(move |said| (is, said)));
    let off_diagonal = cells().filter(|(is, said)| is != said);
    let most_wrong = off_diagonal
        .map(|(i, j)| confusion.at(i, j))
        .max()
        .unwrap_or(0);
    let most_right = (0..side).map(|i| confusion.at(i, i)).max().unwrap_or(0);
    let at = |place: usize| MARGIN + place as f64 * cell;
    html! {
        div {
            h3 { (name) span class="soft" { " – " (grouped(confusion.wrong())) " of " (grouped(confusion.total())) " wrong" } }
            svg viewBox=(format!("0 0 {SIDE} {SIDE}")) role="img" style="margin-top:8px" {
                title { "Confusion of the " (name) " model" }
                @for class in (0..side).step_by(side.div_ceil(20).max(1)) {
                    text class="soft" x=(px(at(class) + cell / 2.0)) y="18" text-anchor="middle" { (class) }
                    text class="soft" x="18" y=(px(at(class) + cell / 2.0 + 4.0)) text-anchor="end" { (class) }
                }
                @for (is, said) in cells() {
                    @let count = confusion.at(is, said);
                    @let most = if is == said { most_right } else { most_wrong };
                    @let strength = (count as f64 / most.max(1) as f64).sqrt();
                    g {
                        title { (is) " taken for " (said) ": " (grouped(count)) }
                        rect class="frame" x=(px(at(said))) y=(px(at(is))) width=(px(cell)) height=(px(cell)) {}
                        @if count > 0 {
                            rect class=(if is == said { "image" } else { "wrong" }) fill-opacity=(format!("{:.2}", 0.12 + 0.5 * strength)) x=(px(at(said) + 0.5)) y=(px(at(is) + 0.5)) width=(px(cell - 1.0)) height=(px(cell - 1.0)) {}
                            @if side <= WITH_FIGURES {
                                text x=(px(at(said) + cell / 2.0)) y=(px(at(is) + cell / 2.0 + 4.0)) text-anchor="middle" { (count) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn mistakes(both: &Confusions) -> Markup {
    let mistakes = both.mistakes();
    html! {
        @if !mistakes.is_empty() {
            table style="margin-top:16px;max-width:520px" {
                tr { th { "class" } th { "taken for" } th class="n" { "float" } th class="n" { "image" } th class="n" { "change" } }
                @for mistake in mistakes.iter().take(LISTED) {
                    tr {
                        td { (mistake.is) }
                        td { (mistake.said) }
                        td class="n" { (mistake.float) }
                        td class="n" { (mistake.image) }
                        td class="n" { (format!("{:+}", mistake.image as i64 - mistake.float as i64)) }
                    }
                }
            }
        }
    }
}
