//! A front of files: none is beaten on both bytes and error by another.

use super::SearchError;
use super::candidate::{Candidate, Try, candidates};
use crate::passes::sensitivity::Sensitivity;
use crate::pipeline::Examples;
use crate::progress::Steps;
use crate::settings::Settings;
use no_std_core::crc32;
use serde::{Deserialize, Serialize};
use std::path::Path;
use trainer::data::Dataset;
use trainer::files::write_atomically;
use trainer::graph::Graph;
use trainer::train::{DeviceChoice, error_percent};

/// One file of a front.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Its name in the folder.
    pub file: String,
    /// What was done and measured.
    #[serde(flatten)]
    pub run: Try,
    /// Whether another file is no larger and no worse, and better in one of the two.
    pub dominated: bool,
}

/// Files by size.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Front {
    /// The model.
    pub model: String,
    /// Bytes of its float weights.
    pub float_bytes: usize,
    /// Its error on the held-out examples, in percent.
    pub float_error: f64,
    /// How many those are.
    pub held_out: usize,
    /// Every file, largest first.
    pub points: Vec<Point>,
    /// What each layer loses by each pass alone.
    pub sensitivity: Vec<Sensitivity>,
}

/// Makes `count` files and plain int8 in `folder`, retrained and measured on examples held out of
/// training. Files that an earlier run of the same `identity` (which names model and data) made with
/// the same settings are taken as they are.
///
/// # Errors
/// When a compression fails or a file cannot be written.
pub fn front(
    graph: &Graph,
    data: &Dataset,
    base: &Settings,
    count: usize,
    (folder, identity): (&Path, &str),
) -> Result<Front, SearchError> {
    let examples = Examples::Data(data);
    let (all, sensitivity) = candidates(graph, examples, base, count, false)?;
    let (_, held_out) = data.hold_out(base.hold_out, base.seed);
    let mut points: Vec<Point> = Vec::new();
    let steps = Steps::new("front", all.len());
    for (place, candidate) in all.iter().enumerate() {
        let stem = format!("{place:02}-{:08x}", key(candidate, identity));
        let run = match finished(folder, &stem) {
            Some(run) => Some(run),
            None => carry_out(candidate, graph, examples, (folder, &stem))?,
        };
        points.extend(run.map(|run| Point {
            file: format!("{stem}.pith"),
            run,
            dominated: false,
        }));
        steps.done();
    }
    points.sort_by_key(|point| std::cmp::Reverse(point.run.costs.bytes));
    mark(&mut points);
    Ok(Front {
        model: graph.name.clone(),
        float_bytes: 4 * graph.parameter_count(),
        float_error: error_percent(graph, &held_out, DeviceChoice::Cpu)?,
        held_out: held_out.len(),
        points,
        sensitivity,
    })
}

/// Tells files of other models, data, settings and versions apart.
fn key(candidate: &Candidate, identity: &str) -> u32 {
    let version = env!("CARGO_PKG_VERSION");
    let all = format!("{version} {identity} {:?}", candidate.settings);
    crc32(all.as_bytes())
}

/// What an earlier run measured, if its image is there and whole.
fn finished(folder: &Path, stem: &str) -> Option<Try> {
    let text = std::fs::read(folder.join(format!("{stem}.json"))).ok()?;
    let run: Try = serde_json::from_slice(&text).ok()?;
    let image = std::fs::metadata(folder.join(format!("{stem}.pith"))).ok()?;
    (image.len() == run.costs.bytes as u64).then_some(run)
}

fn carry_out(
    candidate: &Candidate,
    graph: &Graph,
    examples: Examples,
    (folder, stem): (&Path, &str),
) -> Result<Option<Try>, SearchError> {
    let Some((compressed, run)) = candidate.carry_out(graph, examples)? else {
        return Ok(None);
    };
    let image = folder.join(format!("{stem}.pith"));
    write_atomically(&image, &compressed.encoded.bytes)?;
    // Written last: where it stands, the image is whole.
    let text = serde_json::to_string_pretty(&run).unwrap_or_default();
    write_atomically(&folder.join(format!("{stem}.json")), text.as_bytes())?;
    Ok(Some(run))
}

/// Marks the files that another beats.
fn mark(points: &mut [Point]) {
    let all: Vec<(usize, f64)> = points.iter().map(|p| place(&p.run)).collect();
    for point in points {
        let (bytes, error) = place(&point.run);
        let beats = |&(b, e): &(usize, f64)| b <= bytes && e <= error && (b < bytes || e < error);
        point.dominated = all.iter().any(beats);
    }
}

fn place(run: &Try) -> (usize, f64) {
    (run.costs.bytes, run.error.unwrap_or(f64::INFINITY))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::Costs;

    #[test]
    fn a_file_is_dominated_where_another_is_better_in_one_and_no_worse_in_the_other() {
        let point = |(bytes, error)| Point {
            file: String::new(),
            run: Try {
                choices: Vec::new(),
                huffman: true,
                costs: Costs {
                    bytes,
                    arena_bytes: 0,
                    instructions: 0,
                },
                error: Some(error),
            },
            dominated: false,
        };
        let mut points = [(900, 1.0), (800, 1.0), (700, 3.0), (600, 2.0), (500, 4.0)].map(point);
        mark(&mut points);
        let dominated: Vec<bool> = points.iter().map(|p| p.dominated).collect();
        assert_eq!(dominated, [true, false, true, false, false]);
    }
}
