//! That a recipe does nothing twice, and that nothing is different for it.
#![allow(clippy::expect_used)]

use examples::recipe::{Dish, Recipe};
use std::path::Path;
use trainer::data::{DataSpec, Splits};

const RECIPE: &str = r#"
architecture = "mlp:16"
data = "glyphs:300"

[train]
epochs = 2

[compress]
hold_out = 30

[[compress.stages]]
pass = "prune"
train = { epochs = 2 }

[[compress.stages]]
pass = "quantize"
bits = 3
train = { epochs = 1 }
"#;

fn cook(text: &str, data: &Splits, folder: &Path, cache: Option<&Path>) -> Dish {
    let recipe: Recipe = toml::from_str(text).expect("a recipe");
    let dish = recipe.cook(data, folder, cache, false).expect("cooks");
    dish.write(folder).expect("writes");
    dish
}

/// Seconds that a stage took: the same number where its result was taken from an earlier run, which no
/// two runs share otherwise.
fn seconds(dish: &Dish, stage: usize) -> f64 {
    dish.finished.report.stages[stage].seconds
}

#[test]
fn a_changed_last_stage_goes_on_from_the_others() {
    let data: DataSpec = "glyphs:300".parse().expect("data");
    let data = data.load().expect("data");
    let folder = tempfile::tempdir().expect("a folder");
    let cache = folder.path().join("cache");
    let (out, fresh) = (folder.path().join("out"), folder.path().join("fresh"));
    for folder in [&out, &fresh] {
        std::fs::create_dir(folder).expect("made");
    }
    let first = cook(RECIPE, &data, &out, Some(&cache));
    let changed = RECIPE.replace("bits = 3", "bits = 2");
    let second = cook(&changed, &data, &out, Some(&cache));
    let whole = cook(&changed, &data, &fresh, None);
    for stage in [0, 1] {
        assert_eq!(seconds(&first, stage), seconds(&second, stage));
        assert_ne!(seconds(&whole, stage), seconds(&second, stage));
    }
    assert_ne!(seconds(&first, 2), seconds(&second, 2));
    for file in ["model.onnx", "model.pith"] {
        let read = |folder: &Path| std::fs::read(folder.join(file)).expect("is there");
        assert!(read(&out) == read(&fresh), "another {file}");
    }
    let mut names: Vec<_> = std::fs::read_dir(&fresh)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["model.onnx", "model.pith", "report.json"]);
    // Another training of the float network is another beginning of all.
    let longer = RECIPE.replace("[train]\nepochs = 2", "[train]\nepochs = 3");
    let third = cook(&longer, &data, &out, Some(&cache));
    for stage in 0..3 {
        assert_ne!(seconds(&first, stage), seconds(&third, stage));
    }
}
