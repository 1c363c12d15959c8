//! Seeds, their summary, and the page made of summaries.
#![allow(clippy::expect_used)]

use examples::recipe::{Recipe, image, read_json};
use examples::results::brought::{ALEXNET, AlexNet, BROUGHT, Brought};
use examples::results::{Summary, filled, folder_of, page};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

const RECIPE: &str = r#"
architecture = "mlp:8"
data = "glyphs:300"

[train]
epochs = 2

[[baselines]]
name = "narrow"
architecture = "mlp:4"

[compress]
hold_out = 30

[[compress.stages]]
pass = "prune"
sparsity = 0.5
train = { epochs = 1 }
"#;

/// A folder with the recipe `small.toml`.
struct Kitchen(TempDir);

impl Kitchen {
    fn new() -> Self {
        let kitchen = Self(tempfile::tempdir().expect("a folder"));
        kitchen.says(RECIPE);
        kitchen
    }

    fn says(&self, text: &str) {
        std::fs::write(self.recipe(), text).expect("written");
    }

    fn recipe(&self) -> PathBuf {
        self.0.path().join("small.toml")
    }

    fn out(&self) -> PathBuf {
        self.0.path().join("out")
    }

    fn reproduce(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_reproduce"));
        command.arg(self.recipe()).args(["--data", "nowhere", "-o"]);
        command.arg(self.out()).args(arguments);
        command.output().expect("starts")
    }

    /// What it said, if it went well.
    fn seeds(&self, seeds: &str) -> String {
        let output = self.reproduce(&["--seeds", seeds]);
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{error}");
        String::from_utf8(output.stdout).expect("text")
    }

    fn report(&self, seed: u64) -> Value {
        json(&folder_of(&self.out(), seed).join("report.json"))
    }

    fn summary(&self) -> Result<Summary, String> {
        let recipe = Recipe::find(&self.recipe().to_string_lossy()).expect("a recipe");
        Summary::of(&recipe, &self.out()).map_err(|e| e.to_string())
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON")
}

fn refusal(output: &Output) -> String {
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    said
}

#[test]
fn seeds_are_runs_of_their_own_and_their_summary_is_that_of_the_reports() {
    let kitchen = Kitchen::new();
    let said = kitchen.seeds("3,1");
    let reports = [1, 3].map(|seed| kitchen.report(seed));
    let written = json(&kitchen.out().join("summary.json"));
    let of = |report: &Value, path: &str| report.pointer(path).and_then(Value::as_f64);
    let of = |report: &Value, path: &str| of(report, path).expect("a number");
    for (report, (seed, run)) in reports.iter().zip([(1, 0), (3, 1)]) {
        let run = |field: &str| of(&written, &format!("/runs/{run}/{field}"));
        assert_eq!(report["recipe"], "small");
        assert_eq!(report["seed"], seed);
        assert_eq!(run("seed"), f64::from(seed));
        assert_eq!(run("bytes"), of(report, "/image/bytes"));
        assert_eq!(run("error"), of(report, "/image/value"));
        assert_eq!(run("float_error"), of(report, "/float/value"));
        assert_eq!(run("value_bytes"), of(report, "/ledger/weights.values"));
        assert_eq!(run("others/0/error"), of(report, "/others/0/value"));
        let trained: f64 = report["stages"]
            .as_array()
            .expect("stages")
            .iter()
            .map(|stage| of(stage, "/seconds"))
            .sum();
        assert!(run("seconds") >= trained && trained > 0.0);
        let length = std::fs::metadata(image(&folder_of(&kitchen.out(), seed as u64)));
        assert_eq!(run("bytes"), length.expect("an image").len() as f64);
    }
    let [a, b] = [0, 1].map(|i| of(&reports[i], "/image/value"));
    let near = |path: &str, expected: f64| {
        let found = of(&written, path);
        assert!(
            (found - expected).abs() < 1e-9,
            "{path} is {found}, not {expected}"
        );
    };
    near("/error/mean", (a + b) / 2.0);
    near("/error/min", a.min(b));
    near("/error/max", a.max(b));
    // Of two values: half their difference, times the root of two.
    near("/error/deviation", (a - b).abs() / 2f64.sqrt());
    assert_ne!(
        reports[0]["ledger"], reports[1]["ledger"],
        "one seed is as the other"
    );
    let line = said
        .lines()
        .find(|line| line.starts_with("small: "))
        .expect("a line");
    assert!(line.contains("seeds 1, 3"), "{line}");
    // A single seed gives what it gives among others.
    let alone = tempfile::tempdir().expect("a folder");
    let recipe = Recipe::parse("small", RECIPE)
        .expect("a recipe")
        .with_seed(3);
    let splits = recipe.load(alone.path()).expect("glyphs");
    let dish = recipe
        .cook(&splits, alone.path(), None, false)
        .expect("cooks");
    let among = std::fs::read(image(&folder_of(&kitchen.out(), 3))).expect("an image");
    assert!(dish.compressed.encoded.bytes == among);
}

#[test]
fn finished_seeds_are_not_run_again_unless_the_recipe_has_changed() {
    let kitchen = Kitchen::new();
    kitchen.seeds("1");
    // Seconds are the same number only where nothing was trained again.
    let first = kitchen.report(1);
    let said = kitchen.seeds("1,2");
    assert!(said.contains("seed 1: finished before") && !said.contains("seed 2: finished"));
    assert_eq!(kitchen.report(1), first);
    // Comments and published results decide nothing.
    let record = "[[records]]\nname = 'another'\nsource = 'somewhere'\n";
    kitchen.says(&format!("# Small.\n{RECIPE}{record}"));
    kitchen.seeds("1,2");
    assert_eq!(kitchen.report(1), first);
    // An image that is not the report's is none.
    let image = image(&folder_of(&kitchen.out(), 1));
    std::fs::write(&image, b"cut").expect("written");
    kitchen.seeds("1,2");
    assert_ne!(kitchen.report(1)["seconds"], first["seconds"]);
    let second = kitchen.report(2);
    kitchen.says(&RECIPE.replace("sparsity = 0.5", "sparsity = 0.6"));
    let refused = kitchen.summary().expect_err("made by the recipe as it was");
    assert!(
        refused.contains("from before 'small' was changed"),
        "{refused}"
    );
    kitchen.seeds("1,2");
    assert_ne!(kitchen.report(2)["seconds"], second["seconds"]);
    assert_eq!(kitchen.summary().expect("both").seeds(","), "1,2");
}

#[test]
fn missing_and_foreign_reports_are_refused() {
    let kitchen = Kitchen::new();
    let none = kitchen.summary().expect_err("nothing there");
    assert!(none.contains("holds no seed-N of 'small'"), "{none}");
    kitchen.seeds("1");
    let folder = folder_of(&kitchen.out(), 1);
    let moved = folder_of(&kitchen.out(), 2);
    std::fs::rename(&folder, &moved).expect("moved");
    let wrong = kitchen
        .summary()
        .expect_err("seed 1 under the name of seed 2");
    assert!(wrong.contains("holds seed 1, not 2"), "{wrong}");
    std::fs::rename(&moved, &folder).expect("moved");
    std::fs::create_dir(&moved).expect("made");
    let open = kitchen.summary().expect_err("seed 2 is not finished");
    assert!(
        open.contains("seed-2") && open.contains("report.json"),
        "{open}"
    );
    std::fs::remove_dir(&moved).expect("removed");
    std::fs::rename(kitchen.recipe(), kitchen.0.path().join("other.toml")).expect("moved");
    let recipe = kitchen.0.path().join("other.toml");
    let recipe = Recipe::find(&recipe.to_string_lossy()).expect("a recipe");
    let foreign = Summary::of(&recipe, &kitchen.out()).expect_err("of another recipe");
    let foreign = foreign.to_string();
    assert!(
        foreign.contains("holds the recipe 'small', not 'other'"),
        "{foreign}"
    );
    // Nor is it written over.
    let before = kitchen.report(1);
    let mut command = Command::new(env!("CARGO_BIN_EXE_reproduce"));
    command.arg(kitchen.0.path().join("other.toml"));
    command.args(["--data", "nowhere", "--seeds", "1", "-o"]);
    let said = refusal(&command.arg(kitchen.out()).output().expect("starts"));
    assert!(said.contains("'small', not 'other'"), "{said}");
    assert_eq!(kitchen.report(1), before);
}

/// What `results` says, and makes of an empty page, its summaries in the folder `kept`.
fn results(folder: &Path, arguments: &[&Path]) -> (Output, String) {
    let document = folder.join("page.md");
    std::fs::write(&document, "<!-- results -->\n<!-- /results -->\n").expect("written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_results"));
    command.arg(&document).arg("--summaries");
    let output = command.arg(folder.join("kept")).args(arguments).output();
    let text = std::fs::read_to_string(&document).expect("a page");
    (output.expect("starts"), text)
}

/// From the output of `reproduce --seeds` to a row: a summary in its place, and the page from it.
#[test]
fn a_summary_that_reproduce_wrote_becomes_a_row() {
    let folder = tempfile::tempdir().expect("a folder");
    let output = folder.path().join("mimic-30");
    let recipe = Recipe::find("mimic-30").expect("a recipe");
    let mut small = recipe.clone();
    small.data = "glyphs:60".into();
    small.compress.hold_out = 10;
    small.trainings_mut().for_each(|train| train.epochs = 1);
    let splits = small.load(folder.path()).expect("glyphs");
    for seed in [1, 2] {
        let place = folder_of(&output, seed);
        std::fs::create_dir_all(&place).expect("made");
        let dish = small
            .clone()
            .with_seed(seed)
            .cook(&splits, &place, None, false);
        dish.expect("cooks").write(&place).expect("written");
    }
    let (said, page) = results(folder.path(), &[&output]);
    assert!(said.status.success(), "{said:?}");
    let kept = folder.path().join("kept/mimic-30.json");
    let written = Summary::of(&recipe, &output).and_then(|s| s.to_json());
    let read = std::fs::read_to_string(&kept).expect("a summary");
    assert_eq!(read, written.expect("JSON"));
    assert!(read.len() < 4096, "{} bytes are not small", read.len());
    let row = page.lines().find(|line| line.starts_with("| [mimic-30]"));
    let row = row.expect("a row");
    assert!(
        row.contains("| - |") && row.ends_with("| 1, 2 |"),
        "{row}: no core ran it"
    );
    let (again, same) = results(folder.path(), &[]);
    assert!(again.status.success() && same == page);
}

#[test]
fn seeds_that_make_no_sense_are_one_line() {
    let kitchen = Kitchen::new();
    let twice = refusal(&kitchen.reproduce(&["--seeds", "1,2,1"]));
    assert!(twice.contains("--seeds names 1 twice"), "{twice}");
    let both = refusal(&kitchen.reproduce(&["--seeds", "1,2", "--seed", "3"]));
    assert!(both.contains("cannot be used with"), "{both}");
    let word = refusal(&kitchen.reproduce(&["--seeds", "1,x"]));
    assert!(word.contains("--seeds"), "{word}");
}

#[test]
fn a_results_table_of_nothing_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let (output, _) = results(folder.path(), &[&folder.path().join("hashed-8")]);
    let said = refusal(&output);
    assert!(said.contains("holds no seed-N of 'hashed-8'"), "{said}");
}

/// Three runs that nobody made, of a recipe that there is.
fn invented() -> Value {
    let recipe = Recipe::find("mimic-30").expect("a recipe");
    let run = |seed: u64, bytes: u64, float: f64, hard: f64| {
        serde_json::json!({
            "seed": seed, "bytes": bytes, "value_bytes": 20_000, "float_error": float,
            "error": float + 0.1, "seconds": 600 * seed, "peak_memory_bytes": null,
            "others": [{ "name": "hard labels", "parameters": 23_860, "error": hard }],
            "m4": {
                "instructions": 1_234_567, "code_bytes": 9_000, "arena_bytes": 800,
                "stack_bytes": 700, "examples": 100
            }
        })
    };
    let runs = [
        run(1, 24_000, 2.0, 3.0),
        run(2, 24_300, 2.2, 3.2),
        run(3, 24_600, 2.4, 2.8),
    ];
    serde_json::json!({
        "recipe": "mimic-30", "recipe_key": recipe.key, "network": "mlp-30",
        "float_bytes": 95_440, "split": "test", "n": 10_000, "runs": runs
    })
}

#[test]
fn the_page_says_what_summaries_say_and_names_what_is_missing() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = page::file_of(folder.path(), "mimic-30");
    let write = |value: &Value| std::fs::write(&place, value.to_string()).expect("written");
    write(&invented());
    let text = page::page(folder.path()).expect("a page");
    let row = text
        .lines()
        .find(|line| line.starts_with("| [mimic-30]"))
        .expect("a row");
    for part in [
        "| 24,300 (24,000 to 24,600) | 3.9× | 20,000 |", // 95,440 / 24,300 = 3.93
        "| 2.20 % ± 0.20 | 2.30 % ± 0.20 |",
        "| 1,234,567 | 20 (10 to 30) | 1, 2, 3 |",
    ] {
        assert!(row.contains(part), "{row}");
    }
    for part in [
        "--bin reproduce -- mimic-30 --data ../data -o out/mimic-30 --seeds 1,2,3\n",
        "Without reports, and so without a row: `lenet-300-100-record`, `lenet-5-record`, `mnist-10k`, `hashed-8`, `hashed-64`.\n",
        // 2.2 over 3.0 is 26.7 % less.
        "- hard labels, 23,860 parameters: 3.00 % ± 0.20; the network, in float, makes 26.7 % fewer errors\n",
        "\n| 2 | 24,300 | 20,000 | 2.20 % | 2.30 % | 1,234,567 | 9,000 | 800 | 700 | 20 | - |\n",
    ] {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let refused = |change: fn(&mut Value)| {
        let mut value = invented();
        change(&mut value);
        write(&value);
        page::page(folder.path()).expect_err("refused").to_string()
    };
    let stale = refused(|v| v["recipe_key"] = "0123456789abcdef".into());
    assert!(
        stale.contains("'mimic-30' are from before it was changed"),
        "{stale}"
    );
    let foreign = refused(|v| v["recipe"] = "hashed-8".into());
    assert!(
        foreign.contains("'mimic-30' are those of 'hashed-8'"),
        "{foreign}"
    );
    let empty = refused(|v| v["runs"] = Value::Array(Vec::new()));
    assert!(empty.contains("mimic-30.json has no runs"), "{empty}");
}

/// The page in the repository, and the summaries, which readers may have edited.
#[test]
fn the_committed_page_is_what_the_committed_summaries_give() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let text = std::fs::read_to_string(docs.join("RESULTS.md")).expect("the page");
    let results = page::page(&docs.join("results")).expect("summaries");
    let command = "results docs/RESULTS.md --summaries docs/results";
    assert!(
        filled(&text, &results).as_ref() == Some(&text),
        "the page is old; run {command}"
    );
    for entry in std::fs::read_dir(docs.join("results"))
        .into_iter()
        .flatten()
    {
        let path = entry.expect("an entry").path();
        let text = std::fs::read_to_string(&path).expect("is there");
        let again = match path.file_stem().and_then(|stem| stem.to_str()) {
            Some(BROUGHT) => written(&read_json::<Brought>(&path).expect("a summary")),
            Some(ALEXNET) => written(&read_json::<AlexNet>(&path).expect("a summary")),
            _ => Summary::read(&path)
                .and_then(|summary| summary.to_json())
                .expect("a summary"),
        };
        assert_eq!(again, text, "{}", path.display());
    }
}

fn written(summary: &impl serde::Serialize) -> String {
    serde_json::to_string_pretty(summary).expect("JSON") + "\n"
}

/// What a compression by the command line and `alexnet --json` leave becomes a part of the page.
#[test]
fn what_no_recipe_is_behind_stands_behind_the_recipes() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    std::fs::write(
        path("alexnet.json"),
        r#"{ "parameters": 1000, "bytes": 100, "ratio": 40.0, "seconds": 3.4, "peak_bytes": 2500000000, "layers": [] }"#,
    )
    .expect("written");
    let measured = |value: f64| {
        format!(
            r#"{{ "bytes": 4000, "metric": "error_percent", "value": {value}, "split": "test", "n": 10 }}"#
        )
    };
    let [float, tuned, image] = [24.5, 15.25, 16.25].map(measured);
    std::fs::write(
        path("resnet8.json"),
        format!(r#"{{ "float": {float}, "fine_tuned": {tuned}, "image": {image}, "seed": 7, "seconds": 600.0 }}"#),
    )
    .expect("written");
    let page = page::page(folder.path()).expect("summaries");
    for part in [
        "| as imported | 4,000 | 24.50 % |\n| fine-tuned, float | 4,000 | 15.25 % |\n| compressed | 4,000 | 16.25 % |",
        "Seed 7, 10 minutes.\n",
        "1,000 weights in 100 bytes: 40.00× smaller",
        "in 3 seconds and at most 2.50 GB of memory",
    ] {
        assert!(page.contains(part), "{part} in {page}");
    }
}
