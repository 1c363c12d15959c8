//! A recipe with everything a recipe may have, small.

use examples::recipe::Recipe;
use serde_json::Value;
use trainer::data::{DataSpec, Splits};

const RECIPE: &str = "
architecture = 'mlp:8'
data = 'glyphs:400'
train = { epochs = 2 }
teacher = { architecture = 'mlp:24', ensemble = 2, train = { epochs = 3 } }
baselines = [
    { name = 'hard labels', architecture = 'mlp:8' },
    { name = 'wide', architecture = 'mlp:12', train = { epochs = 1 } },
]

[compress]
hold_out = 50

[[compress.stages]]
pass = 'prune'
sparsity = 0.5
train = { epochs = 1 }
";

#[test]
fn teachers_and_baselines_are_trained_and_reported_and_nothing_else_is_left() {
    let recipe: Recipe = toml::from_str(RECIPE).expect("a recipe");
    let splits: Splits = recipe
        .data
        .parse::<DataSpec>()
        .and_then(|spec| spec.load())
        .expect("glyphs");
    let folder = tempfile::tempdir().expect("a folder");
    let dish = recipe
        .cook(&splits, folder.path(), None, false)
        .expect("cooks");
    dish.write(folder.path()).expect("writes");
    let others: Vec<(&str, usize)> = dish
        .others
        .iter()
        .map(|other| (other.name.as_str(), other.parameters))
        .collect();
    // 784 inputs, 10 outputs, and the hidden units' and outputs' biases.
    let of = |hidden: usize| 784 * hidden + hidden + hidden * 10 + 10;
    let expected = [
        ("teacher-1", of(24)),
        ("teacher-2", of(24)),
        ("hard labels", of(8)),
        ("wide", of(12)),
    ];
    assert_eq!(others, expected);
    let text = std::fs::read(folder.path().join("report.json")).expect("a report");
    let report: Value = serde_json::from_slice(&text).expect("JSON");
    assert_eq!(report["others"][2]["metric"], "error_percent");
    assert_eq!(report["stages"][0]["name"], "train");
    let names = std::fs::read_dir(folder.path()).expect("a folder");
    let mut names: Vec<_> = names.map(|e| e.expect("an entry").file_name()).collect();
    names.sort();
    assert_eq!(names, ["model.onnx", "model.pith", "report.json"]);
    // Taught, the same network is another one.
    let mut untaught = recipe.clone();
    (untaught.teacher, untaught.baselines) = (None, Vec::new());
    let alone = untaught
        .cook(&splits, folder.path(), None, false)
        .expect("cooks");
    assert_ne!(alone.graph.parameters, dish.graph.parameters);
}
