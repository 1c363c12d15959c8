//! Sensitivities, budgets and fronts, as a user meets them.

#[path = "../../trainer/tests/common/terminal.rs"]
mod terminal;

#[path = "common/digits.rs"]
mod digits;

use digits::{DATA, open};
use serde_json::Value;

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

#[test]
fn a_scan_tells_bytes_and_losses_of_every_layer_and_pass() {
    let t = open();
    let line = format!("compress sensitivity m.onnx --data {DATA}");
    let curves: Value = serde_json::from_str(&t.says(&format!("{line} --json"))).expect("JSON");
    let curves = curves.as_array().expect("a list");
    let told: Vec<_> = curves.iter().map(|c| (&c["pass"], &c["weights"])).collect();
    let of_layer = |weights: u64| ["prune", "codebook", "grid"].map(|p| (p.into(), weights.into()));
    let expected: Vec<(Value, Value)> = [784 * 32, 320].into_iter().flat_map(of_layer).collect();
    assert_eq!(
        told,
        expected.iter().map(|(p, w)| (p, w)).collect::<Vec<_>>()
    );
    for curve in curves {
        let points = curve["points"].as_array().expect("points");
        let of = |field: &str| -> Vec<f64> { points.iter().map(|p| number(&p[field])).collect() };
        let (bytes, loss) = (of("bytes"), of("loss"));
        assert!(bytes.last() < bytes.first(), "{bytes:?}");
        // The mildest amount is close to no change; the harshest ruins something.
        assert!(loss[0] < loss[loss.len() - 1], "{loss:?}");
        assert!(
            points
                .iter()
                .all(|p| (0.0..=100.0).contains(&number(&p["error"])))
        );
    }
    let text = t.says(&format!("{line} --passes prune --html s.html"));
    assert!(
        text.contains("98 % pruned") && !text.contains("codebook"),
        "{text}"
    );
    assert!(
        String::from_utf8(t.read("s.html"))
            .expect("text")
            .contains("id=\"sensitivity\"")
    );
    t.refuses(&format!("{line} --passes prun"), &["prune"]);
}

#[test]
fn budgets_are_met_or_refused_by_name() {
    let t = open();
    let line = format!("compress m.onnx --data {DATA} --epochs 3 -o b.pith --report r.json");
    // Plain int8 is the most accurate there is; it is taken where it fits.
    t.says(&format!("{line} --max-bytes 1000000"));
    let plain = t.json("r.json");
    assert_eq!(plain["tries"].as_array().expect("tries").len(), 1);
    assert_eq!(plain["tries"][0]["choices"], Value::Array(Vec::new()));

    t.says(&format!("{line} --max-bytes 5000"));
    let report = t.json("r.json");
    assert!(t.read("b.pith").len() <= 5000);
    assert_eq!(report["image"]["bytes"], t.read("b.pith").len());
    assert!(!report["sensitivity"].as_array().expect("curves").is_empty());

    let instructions = number(&plain["estimated_instructions"]);
    t.says(&format!("{line} --max-instructions {}", instructions * 0.5));
    assert!(number(&t.json("r.json")["estimated_instructions"]) <= instructions * 0.5);

    for budget in ["--max-bytes 100", "--max-ram 10", "--max-instructions 5"] {
        let said = t.fails(&format!("{line} --epochs 0 {budget}").replace("--epochs 3 ", ""));
        let parts = [budget, "cannot be met", "is the closest of"];
        assert!(parts.iter().all(|part| said.contains(part)), "{said}");
    }
}

#[test]
fn the_smallest_file_within_a_loss_is_smaller_than_plain_integers() {
    let t = open();
    let line = format!("compress m.onnx --data {DATA} -o b.pith --report r.json");
    t.says(&format!("{line} --epochs 6 --max-loss 15"));
    let report = t.json("r.json");
    let (float, image) = (&report["float"]["value"], &report["image"]["value"]);
    assert!(number(image) - number(float) <= 15.0);
    assert!(number(&report["ratio"]) > 8.0, "{}", report["ratio"]);
    // Every try that was within the loss is no smaller than the file.
    let bytes = number(&report["image"]["bytes"]);
    let tries = report["tries"].as_array().expect("tries");
    assert!(tries.iter().any(|t| number(&t["bytes"]) == bytes));
    let said = t.fails(&format!("{line} --epochs 0 --max-loss=-60"));
    let parts = ["--max-loss -60 cannot be met", "points of error", "closest"];
    assert!(parts.iter().all(|part| said.contains(part)), "{said}");
}

#[test]
fn budgets_without_data_go_by_the_weights() {
    let t = open();
    t.says("compress m.onnx --max-bytes 4000 -o b.pith");
    assert!(t.read("b.pith").len() <= 4000);
}

#[test]
fn no_file_of_a_front_is_beaten_and_a_second_run_keeps_the_first() {
    let t = open();
    let line = format!("compress pareto m.onnx --data {DATA} --epochs 3 --files 4 -o front");
    let text = t.says(&line);
    let front = t.json("front/front.json");
    let points = front["points"].as_array().expect("points");
    assert!((3..=5).contains(&points.len()));
    let place = |p: &Value| (number(&p["bytes"]), number(&p["error"]));
    for point in points {
        let file = point["file"].as_str().expect("a name");
        assert!(text.contains(file));
        let (bytes, error) = place(point);
        assert_eq!(t.read(&format!("front/{file}")).len() as f64, bytes);
        let beaten = points
            .iter()
            .map(place)
            .any(|(b, e)| (b <= bytes && e <= error) && (b < bytes || e < error));
        assert_eq!(point["dominated"], beaten, "{file}");
    }
    let page = String::from_utf8(t.read("front/front.html")).expect("text");
    assert!(page.contains("id=\"front\"") && !page.contains("http"));

    // What is finished is not made again: a mark in a finished run's figures survives.
    let file = points[0]["file"]
        .as_str()
        .expect("a name")
        .replace(".pith", ".json");
    let mut run = t.json(&format!("front/{file}"));
    run["arena_bytes"] = 77.into();
    t.write(&format!("front/{file}"), run.to_string());
    t.says(&line);
    assert_eq!(t.json("front/front.json")["points"][0]["arena_bytes"], 77);
    // Another seed is another run.
    t.says(&format!("{line} --seed 2"));
    assert_ne!(t.json("front/front.json")["points"][0]["arena_bytes"], 77);
    t.refuses(
        "compress pareto m.onnx --data glyphs:20 -o f --hold-out 99",
        &["held out"],
    );
}
