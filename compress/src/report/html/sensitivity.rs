//! What each layer loses by each pass alone.

use super::axis::{Axis, plain, px, short_bytes};
use crate::passes::sensitivity::{Pass, Point, Sensitivity};
use maud::{Markup, html};

const WIDTH: f64 = 300.0;
const LEFT: f64 = 44.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 130.0;

/// Losses above this many times the least one are cut off: a ruined layer tells nothing more.
const CUT: f64 = 4.0;

fn class(pass: Pass) -> &'static str {
    match pass {
        Pass::Prune => "image",
        Pass::Codebook => "third",
        Pass::Grid => "float",
    }
}

pub(super) fn section(curves: &[Sensitivity]) -> Markup {
    let mut layers: Vec<&str> = curves.iter().map(|c| c.layer.as_str()).collect();
    layers.dedup();
    let losses = || curves.iter().flat_map(|c| &c.points).map(|p| p.loss);
    let least = losses().fold(f64::INFINITY, f64::min).max(0.0);
    let most = losses()
        .fold(0.0, f64::max)
        .min((least * CUT).max(least + 0.5));
    html! {
        section id="sensitivity" {
            h2 { "Sensitivity" }
            p class="sub" { "Each layer compressed alone, without retraining: its bytes across, the loss on held-out examples upwards, on one scale for all." }
            ul class="legend" style="margin:0 0 14px" {
                @for pass in Pass::ALL.into_iter().filter(|p| curves.iter().any(|c| c.pass == *p)) {
                    li { span class={ "swatch " (class(pass)) } {} (pass.means()) }
                }
            }
            div class="cards" {
                @for layer in layers {
                    div class="card" {
                        h3 { (layer) }
                        (chart(curves.iter().filter(|c| c.layer == layer).collect(), [least, most]))
                    }
                }
            }
        }
    }
}

fn chart(curves: Vec<&Sensitivity>, losses: [f64; 2]) -> Markup {
    let bytes = || {
        curves
            .iter()
            .flat_map(|c| &c.points)
            .map(|p| p.bytes as f64)
    };
    let most = bytes().fold(0.0, f64::max);
    let x = Axis::new([0.0, most], [LEFT, WIDTH - 8.0]);
    let y = Axis::new(losses, [BOTTOM, TOP]);
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {}", BOTTOM + 20.0)) role="img" {
            @for tick in y.ticks(4) {
                line class="grid" x1=(LEFT) x2=(WIDTH - 8.0) y1=(px(y.at(tick))) y2=(px(y.at(tick))) {}
                text class="soft" x=(LEFT - 6.0) y=(px(y.at(tick) + 4.0)) text-anchor="end" { (plain(tick)) }
            }
            @for tick in x.ticks(4) {
                text class="soft" x=(px(x.at(tick))) y=(BOTTOM + 16.0) text-anchor="middle" { (short_bytes(tick)) }
            }
            @for curve in &curves {
                @let seen: Vec<&Point> = curve.points.iter().filter(|p| p.loss <= losses[1]).collect();
                polyline class={ "line s-" (class(curve.pass)) } points=(points(&seen, x, y)) {}
                @for point in seen {
                    circle class=(class(curve.pass)) cx=(px(x.at(point.bytes as f64))) cy=(px(y.at(point.loss))) r="3" {
                        title { (curve.pass.amount(point.amount)) ": " (point.bytes) " bytes, " (format!("{:.2}", point.error)) " % error, loss " (format!("{:.4}", point.loss)) }
                    }
                }
            }
        }
    }
}

fn points(points: &[&Point], x: Axis, y: Axis) -> String {
    let place = |p: &&Point| format!("{},{}", px(x.at(p.bytes as f64)), px(y.at(p.loss)));
    points.iter().map(place).collect::<Vec<_>>().join(" ")
}
