//! Where a weight matrix lives, seen from afar.

use super::axis::px;
use crate::report::Picture;
use maud::{Markup, html};
use std::fmt::Write;

/// Shades that densities are drawn in.
const SHADES: usize = 8;

/// Most space, across and down.
const BOX: [f64; 2] = [300.0, 170.0];

/// Largest side of a cell.
const MAX_CELL: f64 = 14.0;

pub(super) fn picture(picture: &Picture) -> Markup {
    let down = picture.density.len();
    let across = picture.density.first().map_or(0, Vec::len);
    let (w, h) = (across.max(1) as f64, down.max(1) as f64);
    let scale = (BOX[0] / w).min(BOX[1] / h).min(MAX_CELL);
    let most = picture
        .density
        .iter()
        .flatten()
        .fold(0.0f32, |m, d| m.max(*d));
    html! {
        svg width=(px(w * scale)) height=(px(h * scale)) viewBox=(format!("0 0 {across} {down}")) preserveAspectRatio="none" style="margin-top:10px" role="img" {
            title { (legend(picture, most)) }
            @for shade in 1..=SHADES {
                path class="cells" stroke-opacity=(format!("{:.3}", shade as f64 / SHADES as f64)) d=(strokes(picture, most, shade)) {}
            }
            rect class="frame" width=(across) height=(down) vector-effect="non-scaling-stroke" {}
        }
    }
}

fn legend(picture: &Picture, most: f32) -> String {
    let [down, across] = picture.cell;
    format!(
        "a cell is {down} × {across} weights; in the darkest {:.0} % live",
        100.0 * most
    )
}

/// Which shade a density has; none where all is zero.
fn shade(density: f32, most: f32) -> usize {
    if density > 0.0 {
        ((density / most * SHADES as f32).ceil() as usize).clamp(1, SHADES)
    } else {
        0
    }
}

/// The cells of one shade as horizontal strokes of width one, neighbours joined.
fn strokes(picture: &Picture, most: f32, wanted: usize) -> String {
    let mut path = String::new();
    for (y, row) in picture.density.iter().enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|a, b| shade(*a, most) == shade(*b, most)) {
            if shade(run[0], most) == wanted {
                let _ = write!(path, "M{x} {y}.5h{}", run.len());
            }
            x += run.len();
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cell_is_in_one_stroke_of_its_shade() {
        let picture = Picture {
            shape: [2, 4],
            cell: [1, 1],
            density: vec![vec![0.0, 0.5, 0.5, 0.1], vec![0.0; 4]],
        };
        assert_eq!(strokes(&picture, 0.5, SHADES), "M1 0.5h2");
        assert_eq!(strokes(&picture, 0.5, 2), "M3 0.5h1");
        assert_eq!(
            (1..=SHADES)
                .map(|s| strokes(&picture, 0.5, s).len())
                .sum::<usize>(),
            16
        );
    }
}
