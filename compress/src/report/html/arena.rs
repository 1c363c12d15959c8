//! The arena: which bytes are taken by what while which operator runs.

use super::axis::{Axis, grouped, px, short_bytes};
use crate::inspect::{OperatorRow, TensorRow, side};
use maud::{Markup, html};

const WIDTH: f64 = 1040.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 300.0;

/// Least height of a block that has room for its name.
const NAMED: f64 = 15.0;

/// A stretch of memory during some steps.
struct Block {
    what: String,
    scratch: bool,
    offset: usize,
    bytes: usize,
    first: usize,
    last: usize,
}

fn blocks(operators: &[OperatorRow], tensors: &[TensorRow]) -> Vec<Block> {
    let tensor = |t: &TensorRow| Block {
        what: side(&t.shape),
        scratch: false,
        offset: t.offset,
        bytes: t.bytes,
        first: t.lifetime.0,
        last: t.lifetime.1,
    };
    let scratch = |(step, op): (usize, &OperatorRow)| Block {
        what: "scratch".to_owned(),
        scratch: true,
        offset: op.scratch_offset,
        bytes: op.scratch_bytes,
        first: step,
        last: step,
    };
    let scratches = operators.iter().enumerate().map(scratch);
    let all = tensors.iter().map(tensor).chain(scratches);
    all.filter(|block| block.bytes > 0 && block.first <= block.last)
        .collect()
}

pub(super) fn section(
    arena_bytes: usize,
    operators: &[OperatorRow],
    tensors: &[TensorRow],
) -> Markup {
    html! {
        section id="arena" {
            h2 { "Arena" }
            p class="sub" { "The " (grouped(arena_bytes)) " bytes that an inference works in: addresses down, operators from left to right. Each block is an activation while it is needed; dashed ones are scratch." }
            div class="wide" { (chart(arena_bytes, operators, &blocks(operators, tensors))) }
        }
    }
}

fn chart(arena_bytes: usize, operators: &[OperatorRow], blocks: &[Block]) -> Markup {
    let steps = operators.len().max(1) as f64;
    let x = Axis::new([0.0, steps], [LEFT, WIDTH - 4.0]);
    let y = Axis::new([0.0, arena_bytes.max(1) as f64], [TOP, BOTTOM]);
    let slanted = operators.len() > 12;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {}", BOTTOM + if slanted { 84.0 } else { 26.0 })) role="img" {
            title { "Arena" }
            @for tick in y.ticks(5) {
                line class="grid" x1=(LEFT) x2=(WIDTH - 4.0) y1=(px(y.at(tick))) y2=(px(y.at(tick))) {}
                text class="soft" x=(LEFT - 10.0) y=(px(y.at(tick) + 4.0)) text-anchor="end" { (short_bytes(tick)) }
            }
            @for block in blocks { (rectangle(block, x, y)) }
            @for (step, op) in operators.iter().enumerate() {
                @let middle = x.at(step as f64 + 0.5);
                @if slanted {
                    text class="soft" transform=(format!("translate({} {}) rotate(45)", px(middle - 4.0), px(BOTTOM + 14.0))) { (op.name) }
                } @else {
                    text class="soft" x=(px(middle)) y=(px(BOTTOM + 18.0)) text-anchor="middle" { (op.name) }
                }
            }
        }
    }
}

fn rectangle(block: &Block, x: Axis, y: Axis) -> Markup {
    let left = x.at(block.first as f64) + 1.5;
    let width = x.at(block.last as f64 + 1.0) - 1.5 - left;
    let top = y.at(block.offset as f64);
    let height = (y.at((block.offset + block.bytes) as f64) - top).max(1.0);
    let range = format!(
        "{} … {}",
        grouped(block.offset),
        grouped(block.offset + block.bytes)
    );
    let name = &block.what;
    html! {
        g {
            title { (name) ": bytes " (range) }
            rect class=(if block.scratch { "float scratch" } else { "image block" }) x=(px(left)) y=(px(top)) width=(px(width.max(1.0))) height=(px(height)) rx="2" {}
            @if height >= NAMED && width > 7.5 * name.chars().count() as f64 {
                text x=(px(left + width / 2.0)) y=(px(top + height / 2.0 + 4.0)) text-anchor="middle" { (name) }
            }
        }
    }
}
