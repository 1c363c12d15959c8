//! A recipe with everything a recipe may have, small.

use examples::recipe::{RECIPES, Recipe};
use serde_json::Value;
use std::path::Path;
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
        .finished
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

/// Every recipe runs through, teachers, baselines and all: on glyphs, which have the shape and the
/// classes of MNIST, an epoch each.
#[test]
fn every_recipe_of_images_can_be_cooked() {
    let splits: Splits = "glyphs:60"
        .parse::<DataSpec>()
        .and_then(|spec| spec.load())
        .expect("glyphs");
    let names = RECIPES.map(|(name, _)| name);
    for name in names {
        let mut recipe = Recipe::find(name).expect(name);
        if recipe.data != "mnist" {
            continue;
        }
        recipe.compress.hold_out = 10;
        recipe.trainings_mut().for_each(|train| train.epochs = 1);
        let folder = tempfile::tempdir().expect("a folder");
        let dish = recipe.cook(&splits, folder.path(), None, false);
        let dish = dish.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(dish.finished.recipe, name);
        assert!(dish.finished.report.image.measure.is_some(), "{name}");
    }
}

#[test]
fn a_baseline_is_trained_like_the_stage_it_names() {
    let like =
        |what: &str| RECIPE.replace("train = { epochs = 1 } },\n]", &format!("{what} }},\n]"));
    let cook = |text: &str| {
        let recipe = Recipe::parse("r", text).expect("a recipe");
        let splits = recipe.load(Path::new("nowhere")).expect("glyphs");
        let folder = tempfile::tempdir().expect("a folder");
        recipe.cook(&splits, folder.path(), None, false)
    };
    let error = |text: &str| cook(text).expect_err("refused").to_string();
    // The stage trains for the one epoch that the recipe gives this baseline itself.
    let same = cook(&like("like = 'prune'")).expect("cooks");
    let given = cook(RECIPE).expect("cooks");
    assert_eq!(same.finished.others, given.finished.others);
    let other = cook(&like("train = { epochs = 2 }")).expect("cooks");
    assert_ne!(other.finished.others[3], given.finished.others[3]);
    let absent = error(&like("like = 'quantize'"));
    assert!(
        absent.contains("'quantize', which is no stage that trains"),
        "{absent}"
    );
    let both = error(&like("like = 'prune', train = { epochs = 1 }"));
    assert!(both.contains("both `like` and `train`"), "{both}");
}

#[test]
fn a_network_may_be_described_in_the_recipe() {
    let described = RECIPE.replace(
        "architecture = 'mlp:8'\ndata",
        "architecture = { name = 'own', layer = [{ op = 'dense', units = 8 }, { op = 'relu' }, { op = 'dense', units = 'classes' }] }\ndata",
    );
    let recipe = Recipe::parse("r", &described).expect("a recipe");
    let build = |recipe: &Recipe| {
        let architecture = recipe.architecture.resolve().expect("an architecture");
        architecture
            .build(&[1, 28, 28], 10, 1)
            .expect("builds")
            .parameters
    };
    let named = Recipe::parse("r", RECIPE).expect("a recipe");
    assert_eq!(build(&recipe), build(&named));
    let misspelt = described.replace("units = 8", "unit = 8");
    let error = Recipe::parse("r", &misspelt)
        .expect_err("misspelt")
        .to_string();
    assert!(
        error.contains("line 2") && error.contains("`unit`"),
        "{error}"
    );
    assert!(error.contains("do you mean units?"), "{error}");
    let number = RECIPE.replace("architecture = 'mlp:8'\ndata", "architecture = 8\ndata");
    let error = Recipe::parse("r", &number)
        .expect_err("a number")
        .to_string();
    assert!(
        error.contains("an architecture's name, or a table"),
        "{error}"
    );
    let misnamed = Recipe::find("hashed-80")
        .expect_err("no such recipe")
        .to_string();
    assert!(misnamed.contains("do you mean hashed-8?"), "{misnamed}");
}
